"""One copy of the model, which answers as many questions at once as it is told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import torch

from resprune.compare import Asked, Update
from resprune.errors import InputError
from resprune.models import load
from resprune.serve.batches import Batches
from resprune.serve.chat import Chat

_FIGURES = ("method", "mass", "tokens_total", "tokens_kept", "nouns", "notes", "kv_bytes")
_TIMES = ("encode_ms", "select_ms", "prefill_ms", "ttft_ms", "tpot_ms", "total_ms")


class Replica:
    """A model, loaded where it is made.

    Args:
        model: see :func:`resprune.models.load`.
        quantization: of it.
        dtype: of it, the same in all replicas, so that they answer the same.
        batch: questions that are answered at once.
    """

    def __init__(self, model: str, quantization: str | None, dtype: torch.dtype, batch: int = 1) -> None:
        loaded, processor = load(model, quantization=quantization, dtype=dtype)
        ends = loaded.generation_config.eos_token_id
        self._ends = ends if isinstance(ends, list) else [ends]
        self._batches = Batches(loaded, processor, batch)

    async def answer(self, chat: Chat) -> AsyncIterator[dict[str, Any]]:
        """Answer greedily; leaving the iteration stops this answer within one token, and no other.

        Yields:
            ``{"text": the answer so far}`` as it grows, and at the end ``text``, ``finish_reason``, ``prompt_tokens``
            (those that the language model read), ``completion_tokens`` and ``resprune``, the figures; or
            ``{"refused": why}`` alone.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[Update | Exception] = asyncio.Queue()
        asked = Asked(chat.picture, chat.question, chat.settings, chat.max_tokens)
        self._batches.ask(asked, lambda update: loop.call_soon_threadsafe(told.put_nowait, update))
        try:
            while True:
                update = await told.get()
                if isinstance(update, InputError):
                    yield {"refused": str(update)}
                    return
                if isinstance(update, Exception):
                    raise update
                if update.answer:
                    yield self._end(update, chat)
                    return
                if update.text:
                    yield {"text": update.text}
        finally:
            asked.stop.set()

    def _end(self, update: Update, chat: Chat) -> dict[str, Any]:
        said, ids = update.answer.as_dict(), update.token_ids
        cut_off = len(ids) >= chat.max_tokens and ids[-1] not in self._ends
        return {
            "text": said["answer"],
            "finish_reason": "length" if cut_off else "stop",
            "prompt_tokens": update.prompt_tokens,
            "completion_tokens": len(ids),
            "resprune": {name: said[name] for name in (*_FIGURES, *_TIMES)},
        }
