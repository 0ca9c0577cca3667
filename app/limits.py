"""How much a request may send, told by its first lines: nothing larger is read, let alone stored."""

from starlette.types import ASGIApp, Receive, Scope, Send

UPLOADS = 260_000_000  # bytes of all files that are sent at once
OTHERS = 80_000_000  # bytes of any other request: a picture within JSON is a third longer than its file


class RequestLimit:
    """Answers 413 to a request whose body is announced as too long, and 411 to one whose length is not announced.

    Gradio limits each file by itself, and reads a file up to its limit before it refuses it.
    """

    def __init__(self, app: ASGIApp, uploads: int = UPLOADS, others: int = OTHERS) -> None:
        self._app, self._uploads, self._others = app, uploads, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            return await self._app(scope, receive, send)
        most = self._uploads if scope["path"].rstrip("/").endswith("/upload") else self._others
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"").decode("latin-1")
        if b"transfer-encoding" in headers or not length.isdecimal():
            return await _refuse(send, 411, "The length of the request is not announced.")
        if int(length) > most:
            return await _refuse(send, 413, f"The request is larger than {most / 1e6:.0f} MB.")
        return await self._app(scope, receive, send)


async def _refuse(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
