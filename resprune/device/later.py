"""Copies between the host and an accelerator that wait for none of the work which is queued there."""

from collections.abc import Sequence
from functools import cache

import torch


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``values`` on ``device``, which takes them when it has done what was queued before; the host goes on at once."""
    if values.device.type != "cpu" or device.type != "cuda":
        return values.to(device)
    if torch.cuda.is_current_stream_capturing():
        # A replay would read the host's memory again, which others have by then.
        numbers = [torch.full((), number, dtype=values.dtype, device=device) for number in values.flatten().tolist()]
        return torch.stack(numbers).view(values.shape) if numbers else values.new_empty(values.shape, device=device)
    try:
        return values.pin_memory().to(device, non_blocking=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # the system gives no more page-locked memory: then the copy is waited for
        return values.to(device)


class Later:
    """A copy of a tensor that is on its way to the host.

    Where a CUDA graph is captured nothing is sent: the tensor stays, and reading gives what the last replay wrote.
    """

    def __init__(self, values: torch.Tensor, sent: torch.cuda.Event | None = None) -> None:
        self._values, self._sent = values, sent

    def read(self) -> torch.Tensor:
        """The values, on the host, once they are there."""
        if self._sent is not None:
            self._sent.synchronize()
        return self._values.cpu()


def sent_home(tensors: Sequence[torch.Tensor]) -> list[Later]:
    """Send ``tensors`` of one device to the host, without a wait on either side.

    They go by a stream of their own, so that what is queued next does not wait for the copies. Their memory is free for
    others once they have gone; until then nobody may change them in place.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return [Later(tensor.detach().to("cpu", copy=True)) for tensor in tensors]
    if torch.cuda.is_current_stream_capturing():
        return [Later(tensor.detach()) for tensor in tensors]
    stream = _stream_of(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        homes = []
        for tensor in tensors:
            homes.append(_home_of(tensor).copy_(tensor, non_blocking=True))
            tensor.record_stream(stream)
        sent = torch.cuda.Event()
        sent.record(stream)
    return [Later(home, sent) for home in homes]


def _home_of(tensor: torch.Tensor) -> torch.Tensor:
    """Room for it on the host, page-locked unless the system gives no more of that; then the copy is waited for."""
    try:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    except RuntimeError:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


@cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
