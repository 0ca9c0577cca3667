"""Reading a chat request, and an answer that survives a replica; what needs a server is in test_serve.py."""

import asyncio
import base64
import json
from typing import Any

import pytest
from tiny import picture

from resprune.methods import Manual, ResPrune
from resprune.serve.chat import MAX_TOKENS, Chat, chat_of
from resprune.serve.errors import Refusal
from resprune.serve.retry import Diverged, survived
from resprune.settings import Mass, Settings

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
    "content",
    [
        [TEXT, {"type": "image_url", "image_url": PICTURE["image_url"]["url"]}],
        [TEXT, {"type": "image_url", "image_url": PICTURE["image_url"] | {"detail": "high"}}],
        [{"type": "input_text", "text": "What animal?"}, {"type": "input_image", "image_url": f"data:;base64,{DATA}"}],
        [TEXT, {"type": "input_image", "image_url": PICTURE["image_url"]["url"], "detail": "auto"}],
        ["What animal?", PICTURE],
        [{"type": "text", "text": ""}, TEXT | {"cache_control": {"type": "ephemeral"}}, PICTURE],
    ],
)
def test_parts_as_clients_write_them(content: list[Any]) -> None:
    asked = read(body(content=content))
    assert (asked.picture, asked.question) == (b"a picture", "What animal?")


# Bytes whose base64 has each of "+", "/" and "=" in it.
RAW = bytes(range(256)) * 3 + b"\xfb\xef\xff"
CODED = base64.b64encode(RAW + b"!").decode()


@pytest.mark.parametrize(
    "sent",
    [
        "data:image/png;base64," + CODED,
        "data:image/png;base64," + base64.encodebytes(RAW + b"!").decode(),
        "data:image/png;base64," + CODED.replace("A", "A\r\n ", 5),
        "data:image/png;base64," + CODED.rstrip("="),
        "data:image/png;base64," + base64.urlsafe_b64encode(RAW + b"!").decode(),
        "data:image/png;base64," + base64.urlsafe_b64encode(RAW + b"!").decode().rstrip("="),
        "data:image/png;base64," + CODED.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "data:image/png;base64, " + CODED,
        "Data:image/png;charset=utf-8;BASE64," + CODED,
        f"\n data:image/png;base64,{CODED}\n",
    ],
)
def test_base64_as_encoders_write_it(sent: str) -> None:
    assert {"+", "/", "="} <= set(CODED)
    assert read(body(content=url(sent))).picture == RAW + b"!"


SYSTEM = {"role": "system", "content": ""}
# What clients send along though nobody asked them to: of LangChain, LlamaIndex, LiteLLM, vLLM's and llama.cpp's.
ASIDES: list[dict[str, Any]] = [
    {"logit_bias": {}, "tools": [], "stop": None, "max_tokens": None, "stream": None, "n": 1},
    {"stop": []},
    {"stop": ""},
    {"functions": [], "function_call": "none"},
    {"tool_choice": "auto"},
    {"response_format": {"type": "text"}},
    {"temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    {"temperature": 1},
    {"temperature": None, "seed": None, "logprobs": None},
    {"logprobs": False, "top_logprobs": 0, "store": False, "modalities": ["text"]},
    {"stream_options": {"include_usage": False, "include_obfuscation": False}},
    {"stream_options": None},
    {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": True, "ignore_eos": False},
    {"prompt_cache_key": "k", "user": "me", "metadata": {"a": "b"}, "seed": 3, "parallel_tool_calls": True},
    {"extra_body": {}, "chat_template_kwargs": {}},
]


@pytest.mark.parametrize("more", ASIDES, ids=lambda more: ",".join(more))
def test_what_asks_for_nothing_else_is_accepted(more: dict[str, Any]) -> None:
    assert read(body(**more)) == read(body())


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["", " \n", None, [], [{"type": "text", "text": ""}]])
def test_a_system_text_that_says_nothing_is_passed_over(role: str, content: Any) -> None:
    asked = {"role": "user", "name": "me", "content": [TEXT, PICTURE]}
    raw = json.dumps({"model": "m", "messages": [{"role": role, "content": content}, asked]}).encode()
    assert read(raw) == read(body())


def test_counts_of_json() -> None:
    assert read(body(max_tokens=9.0)).max_tokens == read(body(max_completion_tokens=9)).max_tokens == 9


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ({"keep": "22%"}, Settings(keep=0.22)),
        ({"keep": "64"}, Settings(keep=64)),
        ({"keep": None, "mass": None, "method": None, "protect": None}, Settings(keep=7)),
        ({"method": "resprune:alpha=4"}, Settings(keep=7, method=ResPrune(alpha=4))),
        ({"method": "resprune+mass:alike=0.5"}, Settings(keep=7, mass=Mass(0.5))),
        ({"mass": {"alike": 0.5}}, Settings(keep=7, mass=Mass(0.5))),
        ({"mass": True}, Settings(keep=7, mass=True)),
        ({"mass": False}, Settings(keep=7)),
        ({"method": "resprune+sequential"}, Settings(keep=7, positions="sequential")),
        (
            {"protect": [3, [0, 0, 5, 5]], "image_size": [9, 9]},
            Settings(7, protect=[3, (0, 0, 5, 5)], image_size=(9, 9)),
        ),
    ],
)
def test_settings_of_a_request(asked: dict[str, Any], settings: Settings) -> None:
    assert read(body(resprune=asked)).settings == settings


@pytest.mark.parametrize(
    ("asked", "default", "says"),
    [
        (
            {"method": "fastv"},
            Settings(mass=True),
            "where a request does not say otherwise, keep is 128 and the method resp",
        ),
        (
            {"method": "random"},
            Settings("auto"),
            "needs a method that measures energy; .*, keep is auto and the method resp",
        ),
        ({"method": "fastv", "mass": True}, Settings(), r"leave them out\.$"),
        ({"method": "fastv", "keep": 0}, Settings(mass=True), r"a share above 0\.$"),
    ],
)
def test_a_clash_with_what_the_request_did_not_say_is_told_as_that(asked: Any, default: Settings, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        chat_of(body(resprune=asked), "m", default)


def test_what_a_request_says_of_mass_is_not_held_against_the_default() -> None:
    default = Settings(mass=Mass(0.9))
    for asked, mass in (({}, 0.9), ({"method": "divprune"}, 0.9), ({"method": "divprune+mass:alike=0.5"}, 0.5)):
        assert chat_of(body(resprune=asked), "m", default).settings.mass == Mass(mass)
    assert chat_of(body(resprune={"mass": False}), "m", default).settings.mass is None
    assert chat_of(body(resprune={"method": "divprune+sequential"}), "m", default).settings.mass == Mass(0.9)


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
        (body(content=url("data:image/png;base64,")), "no valid base64", 400),
        (body(content=url("data:image/png;base64,====")), "no valid base64", 400),
        (body(content=url("data:image/png;base64," + DATA + "A")), "no valid base64", 400),
        (body(content=url("data:image/png;base64,YWJj=ZGVm")), "no valid base64", 400),
        (body(content=url(DATA)), "no URL; give a data URL", 400),
        (body(content=[TEXT, {"type": "image_url"}]), "'image_url' has no 'image_url'", 400),
        (body(content=[TEXT, {"type": "input_image", "file_id": "x"}]), "'input_image' has no 'image_url'", 400),
        (body(content=[{"type": "text", "text": None}, PICTURE]), "'text' has no 'text'", 400),
        (body(content={"type": "text"}), "at messages.0.content: give a text, or a list of parts.", 400),
        (body(temperature=False), "does not do 'temperature'", 400),
        (body(stop=["."]), "does not do 'stop'", 400),
        (body(logit_bias={"5": 1}), "does not do 'logit_bias'; leave it out, or give {}.", 400),
        (body(logprobs=True), "leave it out, or give false.", 400),
        (body(response_format={"type": "json_object"}), 'or give {"type": "text"}.', 400),
        (body(web_search_options={}), "does not do 'web_search_options'", 400),
        (body(max_tokens=9.5), "at max_tokens", 400),
        (body(resprune={"mass": {"alik": 1}}), "no option 'alik'; its options are alike", 400),
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
        (body(resprune={"protect": 5}), "protect is 5; give a list", 400),
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


def ask(*attempts: list[Any], streamed: bool = True) -> list[dict[str, Any]]:
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
        return [piece async for piece in survived(begin, (Gone,), streamed)]

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
    with pytest.raises(Diverged) as error:
        ask(["a", "ab", Gone()], ["a", "ax", "axe."])
    assert error.value.retried
    with pytest.raises(Diverged) as error:  # a question asked again alone, by the same replica
        ask(["a red", "a", "a brown."])
    assert not error.value.retried


def test_an_answer_of_which_nothing_was_sent_is_the_second_one() -> None:
    """In another batch it may be rounded to another word."""
    assert ask(["a", "ab", Gone()], ["a", "ax", "axe."], streamed=False)[-1]["text"] == "axe."


def test_a_text_that_a_tokenizer_takes_back_is_sent_once_it_is_settled() -> None:
    assert "".join(new(ask(["do", "do n", "don't", "do not."]))) == "do not."


def test_the_picture_of_a_request_is_the_file() -> None:
    import io

    file = io.BytesIO()
    picture().save(file, "PNG")
    sent = url("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    assert read(body(content=sent)).picture == file.getvalue()
