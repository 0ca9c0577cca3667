"""A chat request in OpenAI's words, read and checked: one picture, one question, and how to prune."""

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from resprune.errors import InputError
from resprune.images import checked_question
from resprune.serve.errors import Refusal
from resprune.settings import Mass, Settings, misplaced

MAX_BODY = 80_000_000  # bytes of a request; a picture within JSON is a third longer than its file
MAX_TOKENS = 128  # of an answer, where the request does not say

_IGNORED = {
    *("user", "metadata", "seed", "service_tier", "safety_identifier", "parallel_tool_calls"),
    *("prompt_cache_key", "prompt_cache_retention", "request_id"),
}
# Values that ask for what happens anyway, the first of them is what a message names. Answers are greedy; the protocol's
# own default of a temperature, 1, says no more than none does.
_IDLE: dict[str, list[Any]] = {
    "n": [1],
    "best_of": [1],
    "temperature": [0, 1],
    "top_p": [1],
    "top_k": [1, 0, -1],
    "min_p": [0],
    "presence_penalty": [0],
    "frequency_penalty": [0],
    "repetition_penalty": [1],
    "length_penalty": [1],
    "logit_bias": [{}],
    "logprobs": [False],
    "top_logprobs": [0],
    "store": [False],
    "stop": [[], ""],
    "tools": [[]],
    "functions": [[]],
    "tool_choice": ["none", "auto"],  # there are no tools to choose from
    "function_call": ["none", "auto"],
    "modalities": [["text"]],
    "response_format": [{"type": "text"}],
    "reasoning_effort": ["none"],
    "verbosity": ["medium"],
    "min_tokens": [0],
    "ignore_eos": [False],
    "use_beam_search": [False],
    "skip_special_tokens": [True],
    "echo": [False],
    "add_generation_prompt": [True],
    "continue_final_message": [False],
    "chat_template_kwargs": [{}],
    "mm_processor_kwargs": [{}],
    "extra_body": [{}],
}
_TEXTS, _PICTURES = (
    ("text", "input_text"),
    ("image_url", "input_image"),
)  # types of parts, in both of OpenAI's interfaces
_SYSTEM = ("system", "developer")  # roles
_WHITE = str.maketrans("", "", " \t\r\n\f\v")
_STANDARD = str.maketrans("-_", "+/")  # from the alphabet for URLs


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


def _whole(value: Any) -> Any:
    """JSON knows but one kind of number: 128.0 is 128."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _address(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _parts(value: Any) -> Any:
    """The parts of a content, which may be a text, or have texts among them."""
    if value is None or isinstance(value, str):
        value = [] if value is None else [value]
    if not isinstance(value, list):
        raise ValueError("give a text, or a list of parts")
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in value]


_Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_whole)]


class _Url(BaseModel):
    url: str
    detail: str | None = None


class _Part(BaseModel):
    type: str
    text: str | None = None
    image_url: Annotated[_Url | None, BeforeValidator(_address)] = None


class _Message(BaseModel):
    role: str
    content: Annotated[list[_Part], BeforeValidator(_parts)]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    model: str
    messages: list[_Message]
    max_tokens: _Count = None
    max_completion_tokens: _Count = None
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
        raise Refusal(
            f"The request is wrong{f' at {where}' if where else ''}: {first['msg'].removeprefix('Value error, ')}.",
            param=where,
        ) from None
    if read.model != model:
        message = f"There is no model {read.model[:100]!r} here; give {model!r}."
        raise Refusal(message, 404, "model", "model_not_found")
    for name, value in (read.model_extra or {}).items():
        if name in _IGNORED or value is None or value == [] or _is_idle(name, value):
            continue
        does = f"; leave it out, or give {json.dumps(_IDLE[name][0])}" if name in _IDLE else "; leave it out"
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


def _is_idle(name: str, value: Any) -> bool:
    """Whether a value asks for what happens anyway; ``False`` is no 0."""
    return any(value == idle and isinstance(value, bool) == isinstance(idle, bool) for idle in _IDLE.get(name, ()))


def _said(messages: Sequence[_Message]) -> tuple[str, bytes]:
    """The question and the picture."""
    # Clients with a field for a system text send it even where nobody has filled it in.
    messages = [message for message in messages if not (message.role in _SYSTEM and _is_empty(message))]
    if len(messages) != 1 or messages[0].role != "user":
        raise Refusal(
            "Only a single question is answered: give one message, of the role 'user', with the picture and the text; "
            "leave out system texts and earlier turns.",
            param="messages",
        )
    texts, pictures = [], []
    for i, part in enumerate(messages[0].content):
        where = f"messages.0.content.{i}"
        if part.type not in _TEXTS + _PICTURES:
            raise Refusal(f"The part {part.type[:100]!r} is none of 'text' and 'image_url'.", param=where)
        holds = "text" if part.type in _TEXTS else "image_url"
        if getattr(part, holds) is None:
            raise Refusal(f"The part of the type {part.type!r} has no {holds!r}; give it.", param=where)
        if part.type in _TEXTS:
            texts.append(part.text)
        else:
            pictures.append(_picture(part.image_url.url, where))
    if len(pictures) != 1:
        message = f"The message has {len(pictures)} pictures; give one, as a part of the type 'image_url'."
        raise Refusal(message, param="messages.0.content")
    try:
        return checked_question("\n".join(texts)), pictures[0]
    except InputError as error:
        raise Refusal(str(error), param="messages.0.content") from None


def _is_empty(message: _Message) -> bool:
    return not any(part.image_url or (part.text or "").strip() or part.type not in _TEXTS for part in message.content)


def _picture(url: str, where: str) -> bytes:
    """The bytes of a data URL."""

    def refusal(message: str) -> Refusal:
        return Refusal(message, param=where, code="invalid_image_url")

    head, comma, data = url.strip().partition(",")
    kind = head.lower()
    if ":" not in kind:
        raise refusal("The picture's address is no URL; give a data URL, data:image/png;base64, before its base64.")
    if not kind.startswith("data:"):
        raise refusal("Pictures are not fetched from elsewhere; give a data URL, data:image/png;base64,...")
    if not comma or not kind.rstrip().endswith(";base64"):
        raise refusal("The picture's data URL is not in base64; give data:image/png;base64,...")
    try:
        return _decoded(data)
    except ValueError:
        raise refusal("The picture's data URL holds no valid base64; encode the file's bytes.") from None


def _decoded(data: str) -> bytes:
    """What base64 stands for, as encoders write it: in lines, in the alphabet for URLs, escaped, without its padding.

    Raises:
        ValueError: if it is none, or holds nothing.
    """
    with suppress(ValueError):  # as nearly all are; what else there is takes seconds where a picture is large
        if data:
            return base64.b64decode(data, validate=True)
    plain = (unquote(data) if "%" in data else data).translate(_WHITE).translate(_STANDARD).rstrip("=")
    if not plain:
        raise ValueError("nothing")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _settings(given: dict[str, Any], defaults: Settings) -> Settings:
    names = [field.name for field in fields(Settings)]
    given = {name: value for name, value in given.items() if value is not None}  # as if it were left out
    for name, value in given.items():
        if name not in names:
            there = f"There is no setting {name[:100]!r}; give some of {', '.join(names)}."
            message = misplaced(name, value, given.get("method", defaults.method)) or there
            raise Refusal(message, param=f"resprune.{name[:100]}", code="unknown_parameter")
    try:
        if isinstance(given.get("mass"), dict):
            given["mass"] = Mass.of_texts([f"{name}={value}" for name, value in given["mass"].items()], "mass")
        if isinstance(given.get("method"), str) and "+" in given["method"] and "mass" not in given:
            # What the text says of mass is not to be held against what the endpoint has where nothing is said.
            said = Settings(method=given["method"])
            given["mass"] = said.mass or defaults.mass
        return replace(defaults, **given)
    except InputError as error:
        raise Refusal(_reason(error, given, defaults), param="resprune") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(f"A setting is of the wrong type ({error}).", param="resprune") from None


def _reason(error: InputError, given: dict[str, Any], defaults: Settings) -> str:
    """What is wrong with settings; where only those that the request did not give are, it is told of them."""
    try:
        Settings(**given)
    except (InputError, TypeError, ValueError, OverflowError):
        return str(error)
    own = f"keep is {defaults.keep} and the method {defaults}"
    return f"{str(error).removesuffix('.')}; where a request does not say otherwise, {own}."
