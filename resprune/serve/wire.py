"""What goes over the wire: a request's body, and an answer in OpenAI's form."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request

from resprune.serve.chat import MAX_BODY, Chat
from resprune.serve.errors import Refusal


async def pieces_of(response: Any) -> AsyncIterator[dict[str, Any]]:
    """A replica's answer; leaving it early stops the replica."""
    done = False
    try:
        async for piece in response:
            yield piece
        done = True
    finally:
        if not done:
            response.cancel()


async def body_of(request: Request) -> bytes:
    """The body of a request, which is not read where it is no JSON or too long.

    The type of content is asked for because a page of another site can send a request without it.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal("The content is of another type; send application/json.", 415)
    too_long = Refusal(f"The request is larger than {MAX_BODY / 1e6:.0f} MB; make the picture smaller.", 413)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise too_long
    return bytes(body)


async def stream_of(
    first: dict[str, Any], pieces: AsyncIterator[dict[str, Any]], head: dict[str, Any], chat: Chat
) -> AsyncIterator[str]:
    """Server-sent events, as OpenAI sends them."""

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        usage = {"usage": None} if chat.include_usage else {}
        return _event(head | {"object": "chat.completion.chunk", "choices": choices} | usage | more)

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]

    yield event(choice({"role": "assistant", "content": ""}))
    piece = first
    async with aclosing(pieces):
        try:
            while piece is not None:
                if piece["new"]:
                    yield event(choice({"content": piece["new"]}))
                if "finish_reason" in piece:
                    yield event(choice({}, piece["finish_reason"]), resprune=figures_of(piece))
                    if chat.include_usage:
                        yield event([], usage=usage_of(piece))
                piece = await anext(pieces, None)
        except Refusal as error:
            yield _event(error.as_dict())
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def usage_of(end: dict[str, Any]) -> dict[str, int]:
    read, said = end["prompt_tokens"], end["completion_tokens"]
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def figures_of(end: dict[str, Any]) -> dict[str, Any]:
    return end["resprune"] | {"retried": end["retried"]}
