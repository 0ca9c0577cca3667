"""One copy of the model, which answers one question after the other."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import torch

from resprune.compare import Update, answer
from resprune.errors import InputError
from resprune.models import load
from resprune.serve.chat import Chat

_END = object()
_FIGURES = ("method", "mass", "tokens_total", "tokens_kept", "nouns", "notes", "kv_bytes")
_TIMES = ("encode_ms", "select_ms", "prefill_ms", "ttft_ms", "tpot_ms", "total_ms")


class Replica:
    """A model, loaded where it is made.

    Args:
        model: see :func:`resprune.models.load`.
        quantization: of it.
        dtype: of it, the same in all replicas, so that they answer the same.
    """

    def __init__(self, model: str, quantization: str | None, dtype: torch.dtype) -> None:
        self._model, self._processor = load(model, quantization=quantization, dtype=dtype)
        ends = self._model.generation_config.eos_token_id
        self._ends = ends if isinstance(ends, list) else [ends]
        # One thread: a question that is given up ends before the next one begins.
        self._thread = ThreadPoolExecutor(1, "answer")

    async def answer(self, chat: Chat) -> AsyncIterator[dict[str, Any]]:
        """Answer greedily; leaving the iteration stops the model within one token.

        Yields:
            ``{"text": the answer so far}`` as it grows, and at the end ``text``, ``finish_reason``, ``prompt_tokens``
            (those that the language model read), ``completion_tokens`` and ``resprune``, the figures; or
            ``{"refused": why}`` alone.
        """
        loop, stop = asyncio.get_running_loop(), Event()
        updates = answer(
            self._model,
            self._processor,
            chat.picture,
            chat.question,
            chat.settings,
            max_new_tokens=chat.max_tokens,
            stop=stop,
        )
        try:
            while (update := await loop.run_in_executor(self._thread, next, updates, _END)) is not _END:
                if update.answer:
                    yield self._end(update, chat)
                elif update.text:
                    yield {"text": update.text}
        except InputError as error:
            yield {"refused": str(error)}
        finally:
            stop.set()
            self._thread.submit(updates.close)

    def _end(self, update: Update, chat: Chat) -> dict[str, Any]:
        said, ids = update.answer.as_dict(), update.token_ids
        cut_off = len(ids) >= chat.max_tokens and ids[-1] not in self._ends
        dropped = said["tokens_total"] - said["tokens_kept"]
        return {
            "text": said["answer"],
            "finish_reason": "length" if cut_off else "stop",
            "prompt_tokens": update.encoded.inputs["input_ids"].shape[1] - dropped,
            "completion_tokens": len(ids),
            "resprune": {name: said[name] for name in (*_FIGURES, *_TIMES)},
        }
