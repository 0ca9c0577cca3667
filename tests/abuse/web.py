"""Requests that are none, or for what is nobody's business: the status and the first words that come back."""

from pathlib import Path

from case import Case

EDGE = "Web"
CALL, JSON = "gradio_api/call/answer", {"content-type": "application/json"}
ROOT = Path(__file__).parents[2]


def _post(content: bytes, path: str = CALL) -> dict:
    return {"method": "POST", "url": path, "content": content, "headers": JSON}


def _get(path: str) -> dict:
    return {"method": "GET", "url": path}


def _upload(name: str) -> dict:
    return {"method": "POST", "url": "gradio_api/upload", "files": {"files": (name, b"x")}}


_GIVEN = [
    ("a body that is no JSON", lambda: _post(b"x"), "422"),
    ("a body that is no text", lambda: _post(b"\xff\xfe"), "422"),
    ("JSON without values", lambda: _post(b"{}"), "422"),
    ("text in the place of the values", lambda: _post(b'{"data": "x"}'), "422"),
    ("brackets 50,000 deep", lambda: _post(b'{"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "400"),
    ("an endpoint that is none", lambda: _post(b'{"data": []}', "gradio_api/call/nothing"), "404"),
    ("/etc/passwd", lambda: _get("gradio_api/file=/etc/passwd"), "403"),
    ("the program's own source", lambda: _get(f"gradio_api/file={ROOT}/app.py"), "403"),
    ("a way out of the examples", lambda: _get(f"gradio_api/file={ROOT}/assets/examples/..%2f..%2fapp.py"), "403"),
    ("another server through this one", lambda: _get("gradio_api/proxy=http://127.0.0.1:9/"), "400"),
    ("an upload whose name leads elsewhere", lambda: _upload("../../../evil.png"), "200, stored under the uploads"),
    ("an upload with markup in its name", lambda: _upload("<img src=x>.png"), "200, stored under the uploads"),
    ("an upload whose name has 3,000 letters", lambda: _upload("a" * 3000 + ".png"), "200, stored under the uploads"),
]  # fmt: skip
CASES = [Case(EDGE, *given) for given in _GIVEN]
