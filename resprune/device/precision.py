"""Arithmetic as it is written, whatever is set around it."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def as_written(device: torch.device) -> Iterator[None]:
    """Compute on the host and on ``device`` without autocast, and make tensors on the host where none says otherwise.

    A choice is made in float32: the same features give the same choice under autocast, and with a default device too.
    """
    kinds = [kind for kind in {"cpu", device.type} if torch.amp.is_autocast_available(kind)]
    autocast = [kind for kind in kinds if torch.is_autocast_enabled(kind)]
    elsewhere = torch.empty(0).device.type != "cpu"
    if not (autocast or elsewhere):
        yield  # as nearly always: what is entered below costs each operation some time
        return
    with contextlib.ExitStack() as stack:
        if elsewhere:
            stack.enter_context(torch.device("cpu"))
        for kind in autocast:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield
