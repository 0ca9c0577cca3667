"""A chat request in OpenAI's words, read and checked: one picture, one question, and how to prune."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resprune.errors import InputError
from resprune.images import checked_question
from resprune.serve.errors import Refusal
from resprune.settings import Settings, misplaced, parse_keep

MAX_BODY = 80_000_000  # bytes of a request; a picture within JSON is a third longer than its file
MAX_TOKENS = 128  # of an answer, where the request does not say

_IGNORED = {"user", "metadata", "seed", "service_tier", "safety_identifier", "parallel_tool_calls"}
# Values that ask for what happens anyway. Answers are greedy.
_IDLE: dict[str, list[Any]] = {
    "n": [1],
    "temperature": [0],
    "top_p": [1],
    "presence_penalty": [0],
    "frequency_penalty": [0],
    "logprobs": [False],
    "store": [False],
    "tool_choice": ["none"],
    "modalities": [["text"]],
    "response_format": [{"type": "text"}],
}


@dataclass(frozen=True)
class Chat:
    """What a request asks.

    Attributes:
        picture: bytes of its file.
        question: of the user.
        settings: of pruning.
        max_tokens: of the answer.
        stream: whether it is to come in pieces.
        include_usage: whether the last piece is to count tokens.
    """

    picture: bytes
    question: str
    settings: Settings
    max_tokens: int
    stream: bool
    include_usage: bool


class _Url(BaseModel):
    url: str
    detail: str | None = None


class _Part(BaseModel):
    type: str
    text: str | None = None
    image_url: _Url | None = None


class _Message(BaseModel):
    role: str
    content: str | list[_Part]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    model: str
    messages: list[_Message]
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    resprune: dict[str, Any] | None = None


def chat_of(body: bytes, model: str, defaults: Settings) -> Chat:
    """Read a request.

    Args:
        body: its JSON.
        model: the name of the only one that answers.
        defaults: of pruning, where the request does not say.

    Raises:
        Refusal: if it is wrong, or asks for what this endpoint does not do.
    """
    try:
        read = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or None
        raise Refusal(f"The request is wrong{f' at {where}' if where else ''}: {first['msg']}.", param=where) from None
    if read.model != model:
        message = f"There is no model {read.model[:100]!r} here; give {model!r}."
        raise Refusal(message, 404, "model", "model_not_found")
    for name, value in (read.model_extra or {}).items():
        if name in _IGNORED or value is None or value == [] or value in _IDLE.get(name, ()):
            continue
        does = f"; leave it out, or give {_IDLE[name][0]!r}" if name in _IDLE else "; leave it out"
        raise Refusal(
            f"This endpoint does not do {name[:100]!r}{does}.", param=name[:100], code="unsupported_parameter"
        )
    question, picture = _said(read.messages)
    return Chat(
        picture=picture,
        question=question,
        settings=_settings(read.resprune or {}, defaults),
        max_tokens=read.max_completion_tokens or read.max_tokens or MAX_TOKENS,
        stream=bool(read.stream),
        include_usage=bool(read.stream_options and read.stream_options.include_usage),
    )


def _said(messages: Sequence[_Message]) -> tuple[str, bytes]:
    """The question and the picture."""
    if len(messages) != 1 or messages[0].role != "user":
        raise Refusal(
            "Only a single question is answered: give one message, of the role 'user', with the picture and the text; "
            "leave out system texts and earlier turns.",
            param="messages",
        )
    content = messages[0].content
    parts = [] if isinstance(content, str) else content
    texts, pictures = [content] if isinstance(content, str) else [], []
    for i, part in enumerate(parts):
        where = f"messages.0.content.{i}"
        if part.type == "text" and part.text is not None:
            texts.append(part.text)
        elif part.type == "image_url" and part.image_url is not None:
            pictures.append(_picture(part.image_url.url, where))
        else:
            raise Refusal(f"The part {part.type[:100]!r} is none of 'text' and 'image_url'.", param=where)
    if len(pictures) != 1:
        message = f"The message has {len(pictures)} pictures; give one, as a part of the type 'image_url'."
        raise Refusal(message, param="messages.0.content")
    try:
        return checked_question("\n".join(texts)), pictures[0]
    except InputError as error:
        raise Refusal(str(error), param="messages.0.content") from None


def _picture(url: str, where: str) -> bytes:
    head, comma, data = url.partition(",")
    if not head.startswith("data:"):
        message = "Pictures are not fetched from elsewhere; give a data URL, data:image/png;base64,..."
        raise Refusal(message, param=where, code="invalid_image_url")
    if not comma or not head.endswith(";base64"):
        message = "The picture's data URL is not in base64; give data:image/png;base64,..."
        raise Refusal(message, param=where, code="invalid_image_url")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        message = "The picture's data URL holds no valid base64; encode the file's bytes."
        raise Refusal(message, param=where, code="invalid_image_url") from None


def _settings(given: dict[str, Any], defaults: Settings) -> Settings:
    names = [field.name for field in fields(Settings)]
    for name, value in given.items():
        if name not in names:
            there = f"There is no setting {name[:100]!r}; give some of {', '.join(names)}."
            message = misplaced(name, value, given.get("method", defaults.method)) or there
            raise Refusal(message, param=f"resprune.{name[:100]}", code="unknown_parameter")
    try:
        if isinstance(given.get("keep"), str):
            given = given | {"keep": parse_keep(given["keep"])}
        return replace(defaults, **given)
    except InputError as error:
        raise Refusal(str(error), param="resprune") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(f"A setting is of the wrong type ({error}).", param="resprune") from None
