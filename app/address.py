"""Where the page is served, as ``HOST``, ``PORT`` and ``GRADIO_ROOT_PATH`` of the environment say.

All is checked before the page is up: what Gradio itself says of a wrong address is a page of trace, or is not true.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

HOST, PORT, ROOT_PATH = "HOST", "PORT", "GRADIO_ROOT_PATH"
HIGHEST = 65535
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TAKEN = "Port {} is taken or may not be used; end what uses it, or give another one, such as PORT=7860."
PROXIES, EXCEPT = "_proxy", "no_proxy"  # how the names of such variables end, and the one that names exceptions


@dataclass(frozen=True)
class Address:
    """Where to listen.

    Attributes:
        host: a name or an address of this machine, IPv6 in brackets; ``None`` is what Gradio takes, the loopback.
        port: ``None`` is the first free one from 7860 on.
    """

    host: str | None = None
    port: int | None = None

    @classmethod
    def of_environment(cls) -> "Address":
        """Where :data:`HOST` and :data:`PORT` say, once it has been tried; of port 0 one that is free.

        Raises:
            SystemExit: with a sentence for the operator, if nothing can be served there.
        """
        host, port = os.environ.get(HOST, "").strip().strip("[]"), _port(os.environ.get(PORT, "").strip())
        if not host and port is None:
            return cls()
        free = _free(host or "127.0.0.1", port or 0)
        return cls(f"[{host}]" if ":" in host else host or None, free if port == 0 else port)


def root_path() -> str:
    """Below which folder a proxy serves the page, or under which whole address, as :data:`ROOT_PATH` says."""
    path = os.environ.get(ROOT_PATH, "").strip().strip("/")
    return path if not path or path.lower().startswith(("http://", "https://")) else f"/{path}"


@contextmanager
def directly(host: str | None = None) -> Iterator[None]:
    """No proxy stands between this process and itself, in this block nor after it.

    While it starts, Gradio asks its own page through whatever proxy the environment names, and fails where that does
    not answer, cannot reach this machine, or is of a kind for which a package is missing. Afterwards all is as the
    operator set it, but that ``no_proxy`` names the loopback and ``host`` as well.
    """
    before = {name: value for name, value in os.environ.items() if name.lower().endswith(PROXIES)}
    for name in before:
        del os.environ[name]
    os.environ[EXCEPT] = "*"
    try:
        yield
    finally:
        del os.environ[EXCEPT]
        os.environ.update(before)
        reached_directly(*([host.strip("[]")] if host else []))


@contextmanager
def importing() -> Iterator[None]:
    """Gradio makes a client of the web while it is imported in this block, whatever proxy the environment names.

    One of a kind that the client does not know, or for which a package is missing, is out of sight meanwhile.
    """
    try:
        httpx.Client().close()
    except (ImportError, ValueError):
        with directly():
            yield
    else:
        yield


def reached_directly(*hosts: str) -> None:
    """Programs that this process starts, and clients that it makes, ask these hosts and the loopback without a proxy.

    Where no variable names a proxy all is left as it is: some systems have settings of their own, which count then.
    """
    if any(name.lower().endswith(PROXIES) for name in os.environ):
        _except((*LOOPBACK, *hosts))


def _except(hosts: tuple[str, ...]) -> None:
    """Add hosts to those that are reached without a proxy, in each spelling of the variable that there is."""
    for name in [name for name in (EXCEPT, EXCEPT.upper()) if name in os.environ] or [EXCEPT]:
        known = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*known, *hosts]))


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise SystemExit(f"{PORT} is {text[:40]!r}; give a number such as 7860.")
    if len(text.lstrip("0")) > len(str(HIGHEST)) or int(text) > HIGHEST:
        raise SystemExit(
            f"{PORT} is {text[:40]!r}; give a number from 1 to {HIGHEST} such as 7860, or 0 for a free one."
        )
    return int(text)


def _free(host: str, port: int) -> int:
    """The port, or for 0 a free one, once it could be opened at one of the host's addresses.

    Raises:
        SystemExit: with a sentence for the operator, if it can be opened at none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SystemExit(
            f"{HOST} is {host[:40]!r}, a name or address that this machine does not know; give 127.0.0.1 for this "
            "machine alone, or 0.0.0.0 for its network."
        ) from None
    refused: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
                return tried.getsockname()[1]
        except OSError as error:
            refused = error
    if port and refused and refused.errno in (errno.EADDRINUSE, errno.EACCES):
        raise SystemExit(TAKEN.format(port))
    raise SystemExit(
        f"{HOST} is {host[:40]!r}, which is no address of this machine ({refused and refused.strerror}); give "
        "127.0.0.1 for this machine alone, or 0.0.0.0 for its network."
    )
