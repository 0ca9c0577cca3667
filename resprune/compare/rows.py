"""Greedy answers to several prompts in one run of ``generate``, readable while they grow; each ends by itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread, get_ident
from typing import Any

import torch
from transformers import PreTrainedModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from resprune.compare.generation import ends_of
from resprune.device import PrefillTimer, device_of, kv_bytes, now_ms


@dataclass
class Row:
    """One answer among several.

    Attributes:
        limit: tokens that it may have.
        stop: when set, it ends after the token under way.
        token_ids: so far, the end of text included.
        token_ms: when each came, on the clock of :func:`resprune.device.now_ms`.
        over: whether it has ended.
    """

    limit: int
    stop: Event
    token_ids: list[int] = field(default_factory=list)
    token_ms: list[float] = field(default_factory=list)
    over: bool = False


class Rows:
    """A run of ``generate`` for a batch of prompts.

    Args:
        model: whose run it is.
        rows: one for each prompt.

    Attributes:
        start_ms: when it began, on the clock of :func:`resprune.device.now_ms`.
        prefill_ms: duration of the language model's first forward pass; like what follows, from the first token on.
        column_bytes: what one column of one row takes in the KV cache.
    """

    start_ms: float
    prefill_ms: float
    column_bytes: float

    def __init__(self, model: PreTrainedModel, rows: Sequence[Row]) -> None:
        self.model, self.rows = model, rows
        self._ends, self._device = ends_of(model), device_of(model)
        self._steps: SimpleQueue[list[int] | BaseException | None] = SimpleQueue()
        self._left = Event()

    def cut_off(self, row: Row) -> list[str]:
        """A sentence for the user where an answer ended for want of tokens rather than by itself."""
        cut = len(row.token_ids) == row.limit and row.token_ids[-1] not in self._ends
        return [f"The answer was cut off after {row.limit} tokens."] if cut else []

    @contextmanager
    def answering(self, generate: Callable[..., Any], inputs: Mapping[str, Any]) -> Iterator[Iterator[list[int]]]:
        """Run ``generate`` on ``inputs`` in a thread of its own; leaving the ``with`` block ends it.

        Yields:
            An iterator over steps, each the numbers of the rows that have grown. A row that is over keeps its place in
            the batch until the last one is, but is not told of any more.
        """
        thread = Thread(target=self._run, args=(generate, inputs), name="generate", daemon=True)
        thread.start()
        try:
            yield self._grown()
        finally:
            self._left.set()
            thread.join()

    def _grown(self) -> Iterator[list[int]]:
        while (step := self._steps.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            now, grown = now_ms(self._device), []
            for number, (row, token) in enumerate(zip(self.rows, step, strict=True)):
                if row.over:
                    continue
                row.token_ids.append(token)
                row.token_ms.append(now)
                row.over = token in self._ends or len(row.token_ids) == row.limit or row.stop.is_set()
                grown.append(number)
            if grown:
                yield grown

    def _run(self, generate: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
        each = _EachByItself(self.rows, inputs["input_ids"].shape[1], self._left)
        decoder, thread = self.model.get_decoder(), get_ident()
        try:
            with PrefillTimer(decoder, self._device) as prefill:

                def note(_: Any, __: Any, output: Any) -> None:
                    if not hasattr(self, "prefill_ms") and get_ident() == thread:
                        cache = output.cache
                        self.prefill_ms = prefill.ms
                        self.column_bytes = kv_bytes(cache) / (len(self.rows) * int(cache.get_seq_length()))

                hook = decoder.register_forward_hook(note)
                try:
                    self.start_ms = now_ms(self._device)
                    generate(
                        **inputs,
                        max_new_tokens=max(row.limit for row in self.rows),
                        do_sample=False,
                        num_beams=1,
                        use_cache=True,
                        streamer=_Streamer(self._steps),
                        stopping_criteria=StoppingCriteriaList([each]),
                    )
                finally:
                    hook.remove()
            self._steps.put(None)
        except BaseException as error:  # whatever it is, it belongs to the thread that waits for the answers
            self._steps.put(error)


class _Streamer(BaseStreamer):
    """Hands on the tokens of each step, after the prompts, which come first."""

    def __init__(self, steps: SimpleQueue) -> None:
        self._steps, self._read_prompts = steps, False

    def put(self, value: torch.Tensor) -> None:
        if self._read_prompts:
            self._steps.put(value.tolist())
        self._read_prompts = True

    def end(self) -> None:
        pass


class _EachByItself(StoppingCriteria):
    """Ends each row at its own limit or stop; all of them once ``left`` is set."""

    def __init__(self, rows: Sequence[Row], prompt: int, left: Event) -> None:
        self._rows, self._prompt, self._left = rows, prompt, left
        self._known: tuple[list[bool], torch.Tensor] | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens, left = input_ids.shape[1] - self._prompt, self._left.is_set()
        over = [left or row.stop.is_set() or tokens >= row.limit for row in self._rows]
        if self._known is None or self._known[0] != over:  # a copy to the device only when a row ends
            self._known = over, torch.tensor(over, device=input_ids.device)
        return self._known[1]
