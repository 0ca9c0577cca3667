"""Synchronised clocks: points in time, spans between them, the time of a prefill."""

import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import torch


def now_ms(device: torch.device) -> float:
    """Milliseconds of a monotonic clock, read after all work queued on ``device`` is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() * 1e3


def mark(device: torch.device) -> float | torch.Event:
    """A point in the work of ``device``: the time on the CPU, elsewhere an event in its queue, without a wait."""
    if device.type == "cpu":
        return now_ms(device)
    event = torch.Event(device, enable_timing=True)
    event.record()
    return event


class Span:
    """The time from its making to :meth:`end`, as synchronised clocks would tell it, but without a wait.

    Reading :attr:`ms` waits for what was queued before the end.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._start, self._end = device, mark(device), None

    def end(self) -> Self:
        self._end = mark(self._device)
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self  # it does not change any more, and events cannot be copied

    def __getstate__(self) -> dict[str, Any]:
        return {"_device": torch.device("cpu"), "_start": 0.0, "_end": self.ms}  # nor can they go to another process

    @property
    def ms(self) -> float:
        """Milliseconds."""
        if isinstance(self._start, torch.Event):
            self._end.synchronize()
            return self._start.elapsed_time(self._end)
        return self._end - self._start


@dataclass(frozen=True)
class SharedSpan:
    """The equal share that one of several parts has of the time of all."""

    whole: Span
    parts: int

    @property
    def ms(self) -> float:
        """Milliseconds; those of all parts add up to the whole."""
        return self.whole.ms / self.parts


class PrefillTimer:
    """Times the first forward pass of ``decoder`` that this thread makes inside the ``with`` block.

    Attributes:
        ms: its duration, ``None`` until it ended.
    """

    def __init__(self, decoder: torch.nn.Module, device: torch.device) -> None:
        self.ms: float | None = None
        self._decoder, self._device, self._start = decoder, device, None
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        self._hooks = [
            self._decoder.register_forward_pre_hook(self._before),
            self._decoder.register_forward_hook(self._after),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, *_: object) -> None:
        if self._start is None and threading.get_ident() == self._thread:
            self._start = now_ms(self._device)

    def _after(self, *_: object) -> None:
        if self.ms is None and threading.get_ident() == self._thread:
            self.ms = now_ms(self._device) - self._start
