"""What an answer costs: synchronised clocks, exact KV-cache bytes, peak memory."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from transformers import Cache

from resprune.heap import trim_heap

SAMPLING_SECONDS = 0.005


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
    """The time of one of several parts, and its equal share of what the whole took beyond all parts."""

    own: Span
    whole: Span
    parts: tuple[Span, ...]

    @property
    def ms(self) -> float:
        """Milliseconds; those of all parts add up to the whole."""
        return self.own.ms + (self.whole.ms - sum(part.ms for part in self.parts)) / len(self.parts)


def kv_bytes(cache: Cache) -> int:
    """Bytes of all tensors that ``cache`` holds, quantised ones included; a tensor held twice counts once."""
    storages = {(t.device, t.data_ptr(), t.nbytes): t.nbytes for layer in cache.layers for t in _tensors(vars(layer))}
    return sum(storages.values())


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


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


class PeakMemory:
    """Peak memory of what runs inside the ``with`` block.

    On CUDA it is the most that torch's allocator held, weights included. On the CPU of Linux it is the peak resident
    size above that at the start: the kernel's high-water mark where it may be reset, else a sample every 5 ms, which
    can miss a short peak. Free memory is given back to the system first, so that what an earlier run left behind does
    not hide what this one needs.

    Attributes:
        bytes: the peak; ``None`` where it cannot be known.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes: int | None = None
        self._device = device

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._device.type == "cpu":
            trim_heap()
            self._start = _status_bytes("VmRSS")
            self._sampler = None if self._start is None or _reset_high_water() else _Sampler()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        elif self._device.type == "cpu" and self._start is not None:
            peak = self._sampler.stop() if self._sampler else _status_bytes("VmHWM")
            self.bytes = max(0, peak - self._start)


class _Sampler:
    """Largest resident size seen from a thread of its own."""

    def __init__(self) -> None:
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._peak = max(self._peak, _status_bytes("VmRSS") or 0)
            if self._done.wait(SAMPLING_SECONDS):
                return

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return max(self._peak, _status_bytes("VmRSS") or 0)


def _status_bytes(field: str) -> int | None:
    """A size from Linux's ``/proc/self/status`` in bytes; ``None`` elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _reset_high_water() -> bool:
    """Let ``VmHWM`` start again from the present size (proc(5), ``clear_refs``); whether the system allowed it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
