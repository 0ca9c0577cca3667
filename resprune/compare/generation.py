"""One greedy answer of a model, generated in a thread of its own, timed, and readable while it grows."""

from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from resprune.compare.text import complete, settled
from resprune.device import PeakMemory, PrefillTimer, device_of, kv_bytes, now_ms
from resprune.errors import InputError


class Generation:
    """A run of ``generate``, to be iterated once inside its ``with`` block; leaving the block ends it.

    Iterating yields the text so far: once, empty, when the prompt is about to be read, then after each token. What a
    later token could still change is held back, so that the text only grows; where the end lets go of some, it is
    yielded once more.

    Args:
        generate: of ``model``, stock or pruned.
        model: that does the work.
        tokenizer: that turns tokens into text.
        inputs: of ``generate``, for one prompt.
        max_new_tokens: at most.
        stop: when set, the run ends after the token under way.

    Attributes:
        start_ms, end_ms: on the clock of :func:`resprune.device.now_ms`; like all that follow, once iterated.
        token_ids: of the answer, the end of text included.
        token_ms: when each token came.
        prefill_ms: duration of the language model's first forward pass.
        kv_bytes: of the cache at the end.
        peak_bytes: peak memory of the run.
        cut_off: whether it ended for want of tokens rather than by itself.
    """

    start_ms: float
    end_ms: float
    prefill_ms: float
    kv_bytes: int
    peak_bytes: int | None

    def __init__(
        self,
        generate: Callable[..., Any],
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        inputs: Mapping[str, Any],
        max_new_tokens: int,
        stop: Event,
    ) -> None:
        self.token_ids: list[int] = []
        self.token_ms: list[float] = []
        self.cut_off = False
        self._model, self._tokenizer, self._max_new_tokens = model, tokenizer, max_new_tokens
        self._events: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self._left = Event()
        self._thread = Thread(target=self._run, args=(generate, inputs, stop), name="generate", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        if self._thread.ident is not None:
            self._thread.join()

    def __iter__(self) -> Iterator[str]:
        # Only now: whoever reads is done with what it was given before, and does not take time from the run.
        self._thread.start()
        tokens, shown = self.token_ids, ""
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if event >= 0:
                tokens.append(event)
            shown = settled(self._tokenizer, tokens).strip()
            yield shown
        if (whole := complete(self._tokenizer, tokens).strip()) != shown:
            yield whole
        self.cut_off = len(tokens) == self._max_new_tokens and tokens[-1] not in ends_of(self._model)

    def _run(self, generate: Callable[..., Any], inputs: Mapping[str, Any], stop: Event) -> None:
        device = device_of(self._model)
        try:
            with PeakMemory(device) as memory, PrefillTimer(self._model.get_decoder(), device) as prefill:
                self.start_ms = now_ms(device)
                output = generate(
                    **inputs,
                    max_new_tokens=self._max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    use_cache=True,
                    return_dict_in_generate=True,
                    streamer=_Streamer(self),
                    stopping_criteria=StoppingCriteriaList([AnyOf(stop, self._left)]),
                )
                self.end_ms = now_ms(device)
            self.prefill_ms, self.peak_bytes = prefill.ms, memory.bytes
            self.kv_bytes = kv_bytes(output.cache)
            self._events.put(None)
        except BaseException as error:  # whatever it is, it belongs to the thread that waits for the answer
            self._events.put(explained(error))

    def _took(self, token: int) -> None:
        self.token_ms.append(now_ms(device_of(self._model)))
        self._events.put(token)


class _Streamer(BaseStreamer):
    """Hands each token to a generation; -1 stands for the prompt, which comes first."""

    def __init__(self, generation: Generation) -> None:
        self._generation, self._read_prompt = generation, False

    def put(self, value: torch.Tensor) -> None:
        if self._read_prompt:
            self._generation._took(int(value))
        else:
            self._read_prompt = True
            self._generation._events.put(-1)

    def end(self) -> None:
        pass


class AnyOf(StoppingCriteria):
    """Stops once any of some events is set."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        done = any(event.is_set() for event in self._events)
        return torch.full((len(input_ids),), done, dtype=torch.bool, device=input_ids.device)


def ends_of(model: PreTrainedModel) -> list[int]:
    """Tokens that end a text."""
    ends = model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def explained(error: BaseException) -> BaseException:
    """The error itself, unless it is a want of memory: that is a sentence for the user."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return InputError("Memory does not suffice for this answer; choose a smaller model or a smaller picture.")
    return error
