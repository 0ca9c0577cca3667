"""Starting the page as a stranger would: another user, a folder that cannot be written, an environment of its own."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.address import reached_directly

QUESTION = "What animal is in the picture?"
PATIENCE = 240  # seconds until the page must be up
PACKAGES = "torch", "gradio", "transformers"
VERSIONS = (
    f"import sys, {', '.join(PACKAGES)}; "
    f"print(sys.version.split()[0], *(sys.modules[name].__version__ for name in {PACKAGES}))"
)


def other_user() -> pwd.struct_passwd | None:
    """Somebody without rights, if this is root and may become another; else ``None``, and this user it is."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


class Served:
    """The page of a folder in a process of its own, inside the ``with`` block.

    Args:
        folder: that holds ``app.py``; it is made read-only.
        python: of the environment that has the page's needs.
        user: who runs it, see :func:`other_user`.
        environment: more variables of the process.
    """

    def __init__(
        self, folder: Path, python: Path, user: pwd.struct_passwd | None, environment: dict[str, str] | None = None
    ) -> None:
        reached_directly()
        self._folder, self._user = folder, user
        self._home = Path(tempfile.mkdtemp(prefix="home-"))
        self._copy: Path | None = None
        self._log = self._home / "log"
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if user:
            os.chown(self._home, user.pw_uid, user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # The variables of a Space, and no others of this process: nothing here may be what makes it run.
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._home),
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_TEMP_DIR": str(self._home / "gradio"),
            **(environment or {}),
        }
        self._command = self._reachable(python.absolute())

    def __enter__(self) -> Self:
        began = time.monotonic()
        with self._log.open("w") as log:
            self._process = self._start([*self._command, "app.py"], stdout=log, stderr=log)
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() - began > PATIENCE:
                log = self._log.read_text()[-3000:]
                self.__exit__(None, None, None)
                raise SystemExit(f"The page did not start.\n{log}")
            time.sleep(0.5)
        self.up_seconds = time.monotonic() - began
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(30)
        for folder in filter(None, (self._home, self._copy)):
            shutil.rmtree(folder, ignore_errors=True)

    def asked(self) -> dict[str, Any]:
        """Ask one question of an example, and tell how it went.

        Raises:
            SystemExit: if there is no right answer.
        """
        from gradio_client import Client, handle_file

        client = Client(f"http://127.0.0.1:{self.port}", verbose=False)
        cake = handle_file(str(self._folder / "assets" / "examples" / "cake.png"))
        full, pruned, figures = client.predict(image=cake, question=QUESTION, keep="128", api_name="/compare")
        if "penguin" not in full.lower() or figures["pruned"]["tokens_kept"] != 128:
            raise SystemExit(f"The page answered {full!r} and {pruned!r}, keeping {figures['pruned']['tokens_kept']}.")
        versions = self._start([*self._command, "-c", VERSIONS], stdout=subprocess.PIPE).communicate()[0].decode()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return {
            "python, torch, gradio, transformers": versions.split(),
            "user": self._user.pw_name if self._user else "the same (this is not root, nobody else can be tried)",
            "written into the folder": sorted(str(p) for p in self._folder.rglob("*.pyc")),
            "seconds until the page is up": round(self.up_seconds, 1),
            "peak memory, MB": int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1000,
            "question": QUESTION,
            "full": full,
            "pruned": pruned,
        }

    def _start(self, command: list[str | Path], **streams: Any) -> subprocess.Popen:
        who = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        given = {"cwd": self._folder, "env": self._environment, "stdin": subprocess.DEVNULL, "start_new_session": True}
        return subprocess.Popen(command, **given, **who, **streams)

    def _reachable(self, python: Path) -> list[str | Path]:
        """The command of an interpreter that the user may run: a copy of it, if it lies in somebody's home."""
        try:
            if self._start([python, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait() == 0:
                return [python]
        except PermissionError:
            pass
        ask = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('purelib'), sep='\\n')"
        base, packages = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
        self._copy = Path(tempfile.mkdtemp(prefix="python-"))
        self._copy.chmod(0o755)
        shutil.copytree(base, self._copy / "base", symlinks=True)
        self._environment |= {"PYTHONPATH": packages, "LD_LIBRARY_PATH": str(self._copy / "base" / "lib")}
        return [self._copy / "base" / "bin" / "python3"]

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
