"""Copies between the host and an accelerator that wait for none of the work which is queued there."""

import torch


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``values`` on ``device``, which takes them when it has done what was queued before; the host goes on at once."""
    if values.device.type != "cpu" or device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class Arriving:
    """Copies on the host of tensors from anywhere, begun when this is made.

    Reading them waits for what was queued on their device before the copies, and not for what came after: begin early,
    queue the work, then read.

    Args:
        tensors: by any name; those on the host are as they are.
    """

    def __init__(self, **tensors: torch.Tensor) -> None:
        self._copies = {name: _begun(values) for name, values in tensors.items()}
        self._events = [_mark(device) for device in {v.device for v in tensors.values() if v.device.type == "cuda"}]

    def __getitem__(self, name: str) -> torch.Tensor:
        while self._events:
            self._events.pop().synchronize()
        return self._copies[name]

    def all(self) -> dict[str, torch.Tensor]:
        """Every one of them."""
        return {name: self[name] for name in self._copies}


def _begun(values: torch.Tensor) -> torch.Tensor:
    return values.to("cpu", non_blocking=values.device.type == "cuda")


def _mark(device: torch.device) -> torch.Event:
    event = torch.Event(device)
    event.record(torch.cuda.current_stream(device))
    return event
