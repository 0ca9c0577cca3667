"""One call of ``generate``, taken apart: its first token, its prefill, its steps, its memory and its waits."""

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune import pruned
from resprune.device import PeakMemory, device_of, kv_bytes, now_ms

_WAIT = "called a synchronizing"  # PyTorch's words; those about the mode itself are others
GREEDY = {"do_sample": False, "num_beams": 1, "use_cache": True}


@dataclass(frozen=True)
class Variant:
    """How a model is asked: ``keep`` as :func:`resprune.attach` takes it, ``None`` for the plain model."""

    keep: int | float | None = None
    mass: bool = False

    @property
    def name(self) -> str:
        """As it stands in the results."""
        return "full" if self.keep is None else f"{self.keep}{', mass' if self.mass else ''}"

    @contextlib.contextmanager
    def on(self, model: PreTrainedModel, processor: ProcessorMixin) -> Iterator[None]:
        """``model``, attached with it for the length of a ``with`` block, or left alone."""
        with (
            contextlib.nullcontext() if self.keep is None else pruned(model, processor, keep=self.keep, mass=self.mass)
        ):
            yield


@dataclass(frozen=True)
class Clock:
    """Milliseconds of a device: of the clock on the wall, or that the processor worked (on the CPU alone)."""

    device: torch.device
    cpu_time: bool = False

    def __call__(self) -> float:
        return time.process_time() * 1e3 if self.cpu_time else now_ms(self.device)


def first_token(model: PreTrainedModel, inputs: Mapping[str, Any], clock: Clock) -> dict[str, float]:
    """TTFT: from the call, pictures as pixels, until the device is done with one token; and what pruning took."""
    start = clock()
    model.generate(**inputs, **GREEDY, max_new_tokens=1)
    taken = {"ttft": clock() - start}
    if "resprune" in vars(model) and not clock.cpu_time:  # its own clock is that on the wall
        taken["select"] = sum(result.select_ms for result in model.resprune.last)
    return taken


class _Steps:
    """When each forward pass of a decoder begins and the first one ends, on a clock that waits for the device."""

    def __init__(self, decoder: torch.nn.Module, clock: Clock) -> None:
        self.began: list[float] = []
        self.first_ended: float | None = None
        self._decoder, self._clock = decoder, clock

    def __enter__(self) -> "_Steps":
        self._hooks = [
            self._decoder.register_forward_pre_hook(lambda *_: self.began.append(self._clock())),
            self._decoder.register_forward_hook(self._after),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _after(self, *_: object) -> None:
        if self.first_ended is None:
            self.first_ended = self._clock()


def parts(model: PreTrainedModel, encoded: Mapping[str, Any], tokens: int, clock: Clock) -> dict[str, float]:
    """The decoder's prefill and TPOT of an answer of ``tokens``, pictures encoded before; bytes of its cache."""
    with _Steps(model.get_decoder(), clock) as steps:
        output = model.generate(**encoded, **GREEDY, max_new_tokens=tokens, return_dict_in_generate=True)
        end = clock()
    # The second pass begins once the first token is chosen, and the last one ends with the last token.
    tpot = (end - steps.began[1]) / (tokens - 1)
    prefill = steps.first_ended - steps.began[0]
    return {"prefill": prefill, "tpot": tpot, "kv_bytes": kv_bytes(output.cache)}


def peak_bytes(model: PreTrainedModel, inputs: Mapping[str, Any]) -> int | None:
    """Peak memory of a call for one token above what is held at its start."""
    device = device_of(model)
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    with PeakMemory(device) as memory:
        model.generate(**inputs, **GREEDY, max_new_tokens=1)
    return None if memory.bytes is None else memory.bytes - held


def waits(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, int] | None:
    """How often the host waits for CUDA between the call and the decoder's first pass: of each line of code, how often.

    Waits for events and for the whole device are not among what PyTorch tells of. ``None`` without CUDA.
    """
    if device_of(model).type != "cuda":
        return None
    told: list[warnings.WarningMessage] = []
    before: list[int] = []
    hook = model.get_decoder().register_forward_pre_hook(lambda *_: before.append(len(told)))
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            model.generate(**inputs, **GREEDY, max_new_tokens=1)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        hook.remove()
    return counted(told[: before[0]])


def counted(told: list[warnings.WarningMessage]) -> dict[str, int]:
    """Of warnings, those about waits, by the file's name and line."""
    found: dict[str, int] = {}
    for warning in told:
        if _WAIT in str(warning.message):
            line = f"{Path(warning.filename).name}:{warning.lineno}"
            found[line] = found.get(line, 0) + 1
    return found
