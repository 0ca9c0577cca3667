"""The container: built, started and asked by a container engine, or, where there is none, its steps without one.

    python -m checks.container --python PATH     # of an environment that has what requirements.txt names

Without an engine the files that the Dockerfile copies, and its variables, are taken from it and run by another user, in
a folder that cannot be written and a network namespace that has the loopback alone (root is needed for these two; what
could not be done is said). The base image and the installation in it are then not tested.
"""

import argparse
import fcntl
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from checks.serving import QUESTION, Served, other_user

ROOT = Path(__file__).parents[1]
ALONE = "RESPRUNE_CHECK_ALONE"  # set inside the namespace without a network
ASK = (
    "from gradio_client import Client, handle_file; "
    "c = Client('http://127.0.0.1:7860', verbose=False); "
    f"print(c.predict(image=handle_file('assets/examples/cake.png'), question={QUESTION!r}, api_name='/compare')[0])"
)


def last_stage(dockerfile: str) -> tuple[list[str], dict[str, str]]:
    """What the last stage copies from the tree, and the variables that it sets."""
    lines = re.sub(r"\\\n\s*", " ", dockerfile).splitlines()
    start = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    copied, variables = [], {}
    for line in lines[start:]:
        word, _, rest = line.partition(" ")
        if word == "COPY" and not rest.startswith("--from"):
            copied += rest.split()[:-1]
        elif word == "ENV":
            variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return copied, variables


def engine() -> str | None:
    """A container engine that answers."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    return None


def by_engine(name: str) -> dict[str, Any]:
    """Build the image, run it without a network, wait until it is healthy, ask.

    Raises:
        SystemExit: if it does not get healthy or does not answer rightly.
    """
    subprocess.run([name, "build", "-t", "resprune-check", "."], cwd=ROOT, check=True)
    where = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/home/page:uid=1000,gid=1000"]
    run = subprocess.run([name, "run", "-d", *where, "resprune-check"], capture_output=True, text=True, check=True)
    container = run.stdout.strip()
    try:
        for _ in range(120):
            state = ["inspect", "-f", "{{.State.Health.Status}}", container]
            health = subprocess.run([name, *state], capture_output=True, text=True).stdout.strip()
            if health == "healthy":
                break
            time.sleep(2)
        else:
            raise SystemExit(f"The container is {health}, not healthy.")
        asked = subprocess.run([name, "exec", container, "python", "-c", ASK], capture_output=True, text=True)
    finally:
        subprocess.run([name, "rm", "-f", container], capture_output=True)
    if "penguin" not in asked.stdout:
        raise SystemExit(f"The container answered {asked.stdout or asked.stderr}")
    return {"engine": name, "health": health, "full": asked.stdout.strip()}


def without_engine(python: Path) -> dict[str, Any]:
    """The steps of the Dockerfile that need no engine."""
    copied, variables = last_stage((ROOT / "Dockerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="container-") as place:
        folder = Path(place) / "app"
        os.chmod(place, 0o755)
        folder.mkdir()
        for name in copied:
            source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copyfile(source, folder / name)
        # The image's /tmp is its own; the one here may hold folders of others.
        own = {
            name: value for name, value in variables.items() if name not in ("PATH", "PORT", "HOST", "GRADIO_TEMP_DIR")
        }
        with Served(folder, python, other_user(), own) as served:
            alone = "the loopback alone" if os.environ.get(ALONE) else "not taken away (needs root and unshare)"
            return {"engine": "none here", "network": alone} | served.asked()


def _leave_the_network() -> None:
    """Start this program again where there is no network, if that can be had."""
    again = ["unshare", "--net", sys.executable, "-m", "checks.container", *sys.argv[1:]]
    if os.environ.get(ALONE):
        with socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM
        ) as any_socket:  # up with the loopback: IFF_UP, IFF_RUNNING
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
    elif subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0:
        os.environ[ALONE] = "1"
        os.execvp(again[0], again)


def main() -> None:
    """Check, and print what was found, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    options = parser.parse_args()
    if name := engine():
        said = by_engine(name)
    else:
        if not os.environ.get(ALONE):
            print("No container engine answers here; the steps of the Dockerfile are run without one.", file=sys.stderr)
        if shutil.which("unshare"):
            _leave_the_network()
        said = without_engine(options.python)
    print(json.dumps(said, indent=2, ensure_ascii=False))
    print("pass" if said.get("network") is None else "pass, without an engine: the image itself was not built")


if __name__ == "__main__":
    main()
