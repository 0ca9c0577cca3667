"""Memory: exact bytes of a KV cache, peak memory of a run, and what is free."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil
import torch

from resprune.device.heap import trim_heap

if TYPE_CHECKING:
    from transformers import Cache

SAMPLING_SECONDS = 0.005


def kv_bytes(cache: "Cache") -> int:
    """Bytes of all tensors that ``cache`` holds, quantised ones included; a tensor held twice counts once."""
    storages = {(t.device, t.data_ptr(), t.nbytes): t.nbytes for layer in cache.layers for t in _tensors(vars(layer))}
    return sum(storages.values())


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


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


def free_bytes(device: torch.device) -> int:
    """Memory of ``device`` that is free now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available


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
