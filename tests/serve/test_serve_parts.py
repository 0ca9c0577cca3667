"""Reading a chat request, and an answer that survives a replica; what needs a server is in test_serve.py."""

import asyncio
import base64
import json
from typing import Any

import pytest
from tiny import picture

from resprune.methods import Manual
from resprune.serve.chat import MAX_TOKENS, Chat, chat_of
from resprune.serve.errors import Refusal
from resprune.serve.retry import Diverged, survived
from resprune.settings import Settings

DATA = base64.b64encode(b"a picture").decode()
TEXT = {"type": "text", "text": "What animal?"}
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}


def body(content: Any = None, role: str = "user", **more: Any) -> bytes:
    message = {"role": role, "content": [TEXT, PICTURE] if content is None else content}
    return json.dumps({"model": "m", "messages": [message]} | more).encode()


def read(raw: bytes) -> Chat:
    return chat_of(raw, "m", Settings(keep=7))


def test_a_request_is_read() -> None:
    assert read(body()) == Chat(b"a picture", "What animal?", Settings(keep=7), MAX_TOKENS, False, False)
    more = {"max_tokens": 9, "stream": True, "stream_options": {"include_usage": True}, "user": "me", "temperature": 0}
    asked = read(body(resprune={"keep": "22%", "mass": True}, **more))
    assert asked.settings == Settings(keep=0.22, mass=True)
    assert (asked.max_tokens, asked.stream, asked.include_usage) == (9, True, True)
    assert read(body(resprune={"method": "manual:indices=3 1"})).settings.method == Manual([3, 1])
    assert read(body(content=[PICTURE, TEXT, TEXT])).question == "What animal?\nWhat animal?"


def url(text: str) -> list[dict[str, Any]]:
    return [TEXT, {"type": "image_url", "image_url": {"url": text}}]


@pytest.mark.parametrize(
    ("raw", "says", "status"),
    [
        (b"", "The request is wrong", 400),
        (b"{", "Invalid JSON", 400),
        (b"\xff\xfe", "The request is wrong", 400),
        (b"[" * 100_000, "The request is wrong", 400),
        (b"[]", "The request is wrong", 400),
        (b'{"model": "m"}', "at messages: Field required", 400),
        (b'{"model": "m", "messages": []}', "one message", 400),
        (body(model="gpt"), "no model 'gpt' here; give 'm'", 404),
        (body(content="What animal?"), "0 pictures", 400),
        (body(content=[PICTURE]), "question is empty", 400),
        (body(content=[TEXT, PICTURE, PICTURE]), "2 pictures", 400),
        (body(content=[TEXT, {"type": "input_audio"}]), "'input_audio' is none of", 400),
        (body(content=[{"type": "text", "text": "x" * 5000}, PICTURE]), "5,000 characters", 400),
        (body(content=[{"type": "text", "text": "\ud800"}, PICTURE]), "", 400),
        (body(role="system"), "leave out system texts", 400),
        (body(content=url("http://example.org/a.png")), "not fetched from elsewhere", 400),
        (body(content=url("file:///etc/passwd")), "not fetched from elsewhere", 400),
        (body(content=url("data:image/png,abc")), "not in base64", 400),
        (body(content=url("data:image/png;base64,####")), "no valid base64", 400),
        (body(n=2), "does not do 'n'; leave it out, or give 1", 400),
        (body(temperature=0.7), "does not do 'temperature'", 400),
        (body(tools=[{"type": "function"}]), "does not do 'tools'; leave it out", 400),
        (body(max_tokens=0), "at max_tokens", 400),
        (body(max_tokens="many"), "at max_tokens", 400),
        (body(stream="yes"), "at stream", 400),
        (body(resprune=5), "at resprune", 400),
        (body(resprune={"kep": 5}), "no setting 'kep'; give some of keep", 400),
        (body(resprune={"keep": 0}), "at least 1 token", 400),
        (body(resprune={"keep": "lots"}), "'lots'", 400),
        (body(resprune={"keep": [1]}), "The budget is [1]", 400),
        (body(resprune={"method": "magic"}), "no method 'magic'", 400),
        (body(resprune={"seed": 3}), "write method=Random(seed=3)", 400),
        (body(resprune={"method": "random:seed=-1"}), "seed is -1", 400),
        (body(resprune={"indices": [3, 1]}), "method='manual:indices=3 1'", 400),
        (body(resprune={"protect": 5}), "wrong type", 400),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, says: str, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        read(raw)
    assert says in caught.value.message and caught.value.status == status
    error = json.loads(json.dumps(caught.value.as_dict()))["error"]
    assert list(error) == ["message", "type", "param", "code"] and error["type"] == "invalid_request_error"


class Gone(Exception):
    pass


def ask(*attempts: list[Any]) -> list[dict[str, Any]]:
    """The pieces that come of attempts, of which each is the texts so far, ``"."`` the end, or an error."""
    left = list(attempts)

    async def begin() -> Any:
        said = ""
        for step in left.pop(0):
            if isinstance(step, Exception):
                raise step
            end = step.endswith(".")
            said = step
            yield {"text": said} | ({"finish_reason": "stop"} if end else {})

    async def collected() -> list[dict[str, Any]]:
        return [piece async for piece in survived(begin, (Gone,))]

    return asyncio.run(collected())


def new(pieces: list[dict[str, Any]]) -> list[str]:
    return [piece["new"] for piece in pieces]


def test_an_answer_comes_in_pieces() -> None:
    pieces = ask(["a", "ab", "ab", "abc."])
    assert new(pieces) == ["a", "b", "c."] and pieces[-1]["retried"] == 0


def test_after_a_death_what_was_sent_is_not_sent_again() -> None:
    pieces = ask(["a", "abc", Gone()], ["a", "ab", "abcd", "abcd."])
    assert new(pieces) == ["a", "bc", "d", "."] and pieces[-1]["retried"] == 1


def test_a_second_death_is_an_error() -> None:
    with pytest.raises(Gone):
        ask(["a", Gone()], [Gone()], ["a."])


def test_another_answer_is_never_mixed_with_the_first() -> None:
    with pytest.raises(Diverged):
        ask(["a", "ab", Gone()], ["a", "ax", "axe."])


def test_a_text_that_a_tokenizer_takes_back_is_sent_once_it_is_settled() -> None:
    assert "".join(new(ask(["do", "do n", "don't", "do not."]))) == "do not."


def test_the_picture_of_a_request_is_the_file() -> None:
    import io

    file = io.BytesIO()
    picture().save(file, "PNG")
    sent = url("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    assert read(body(content=sent)).picture == file.getvalue()
