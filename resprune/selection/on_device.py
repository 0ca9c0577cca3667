"""The greedy choice on an accelerator, which nobody waits for: the whole order comes when somebody reads it."""

import threading
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch

from resprune.device import Later, sent, sent_home
from resprune.selection import kernel, launch
from resprune.selection.cholesky import PivotedCholesky
from resprune.selection.inputs import checked, refuse
from resprune.selection.on_host import select_on_host
from resprune.selection.selection import Selection

NO_MEMORY = "The tokens were chosen on the host: the accelerator had no memory left for it."
_failed: dict[torch.device, str] = {}  # devices on which a launch has failed, and how


class DeviceSelection(Selection):
    """A :class:`Selection` of which ``chosen`` and ``indices`` are on the device at once.

    ``order``, ``energy`` and ``captured`` begin with what the device chose; reading them waits for the inner products,
    which have come to the host meanwhile, and goes through the choice again there. A pickle is a plain
    :class:`Selection` on the host; a copy is the selection itself, which does not change.
    """

    def __init__(self, told: torch.Tensor, indices: torch.Tensor, later: Sequence[Later], ahead: int) -> None:
        self.__dict__.update(  # past the setters that a frozen dataclass refuses
            indices=indices,
            note=None,
            _chosen=told[kernel.FAULTS :],
            _later=later,  # told, the inner products, the weights
            _ahead=ahead,
            _lock=threading.Lock(),
        )

    chosen = property(lambda self: self._chosen)
    order = property(lambda self: self._all()[0])
    energy = property(lambda self: self._all()[1])
    captured = property(lambda self: self._all()[2])

    def check(self) -> None:
        """Wait for the choice, and look whether it was one.

        Raises:
            InputError: if a value was NaN or infinite, a weight negative, or a token to come first none or there twice.
        """
        told = self._later[0].read()
        refuse(*told[: kernel.FAULTS].bool().tolist())

    def _all(self) -> list[torch.Tensor]:
        with self._lock:
            if "_ranked" not in self.__dict__:
                self.check()
                told, gram, weights = (later.read() for later in self._later)
                chosen = told[kernel.FAULTS :].tolist()
                order, energy, captured = PivotedCholesky(gram.numpy(), weights.numpy(), chosen).finish(self._ahead)
                own = energy[self._ahead :]  # of the others, where rounding may have made two change places
                np.minimum.accumulate(own, out=own)
                arrays = [torch.from_numpy(array).to(self.indices.device) for array in (order, energy, captured)]
                self.__dict__.update(_ranked=arrays, _later=self._later[:1])  # the inner products are done with
        return self._ranked

    def __reduce__(self) -> tuple[Any, ...]:
        values = (self.order, self.indices, self.energy, self.captured)
        return Selection, (*(value.cpu() for value in values), None, self.note)

    def __copy__(self) -> "DeviceSelection":
        return self

    def __deepcopy__(self, _: object) -> "DeviceSelection":
        return self


def serves(device: torch.device) -> bool:
    """Whether a choice can be made on ``device``; where an accelerator cannot, it is said why, once.

    It takes CUDA from compute capability 7.0 on, and Triton. Whether Triton finds what it needs to compile shows at the
    first choice; if it does not, the host serves from then on.
    """
    if device.type in ("cpu", "meta"):
        return False
    reason = _lacks(device) or _failed.get(device)
    if reason:
        _say(f"Tokens are chosen on the host, which takes longer: {reason}")
    return not reason


def select_on_device(
    grams: Sequence[torch.Tensor],
    budgets: Sequence[int],
    weights: Sequence[torch.Tensor | None],
    first: Sequence[torch.Tensor | None],
) -> list[Selection]:
    """Choose from several images in one launch, without a wait.

    Args:
        grams: of each image ``[N, N]`` float32 inner products, on one device that :func:`serves`; nobody may change
            them in place afterwards, but they may be dropped.
        budgets: tokens to keep of each, at least 1, those that come first included; where these are more, they stay.
        weights: of each ``[N]``, non-negative, on the device; ``None`` for 1 each.
        first: of each ``[P]`` int64, tokens that come first whatever their energy, in this order; ``None`` for none.
            From the host they go without a wait.

    Returns:
        For each a :class:`DeviceSelection`; where there was no memory for it, or the launch failed, a selection made on
        the host, which waited, with a ``note``.

    Memory on the device beside ``grams``: the factor, N x k float32 an image, until the choice is made, and less than a
    megabyte. The inner products come to page-locked memory of the host, N x N float32 until ``order`` is read.

    Raises:
        InputError: if a budget is below 1 or shapes do not fit; for values see :meth:`DeviceSelection.check`.
    """
    images = []
    for gram, k, scale, ahead in zip(grams, budgets, weights, first, strict=True):
        budget = checked(k, len(gram), scale, ahead)
        images.append((gram.detach().float().contiguous(), budget, scale, ahead))
    device = grams[0].device
    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            return _chosen([_job(*image) for image in images])
    except torch.OutOfMemoryError:
        note = NO_MEMORY
    except launch.NotLaunched as error:
        note = f"The tokens were chosen on the host: {error}"
        if error.lasting:
            _failed[device] = str(error)
    return [
        select_on_host(gram.cpu().numpy(), budget, scale, ahead, device, note) for gram, budget, scale, ahead in images
    ]


def _chosen(jobs: Sequence[launch.Job]) -> list[Selection]:
    told = launch.choose(jobs)
    later = sent_home([tensor for job, row in zip(jobs, told, strict=True) for tensor in (row, job.gram, job.weights)])
    return [
        DeviceSelection(row, row[kernel.FAULTS :].sort().values, later[3 * i : 3 * i + 3], len(job.first))
        for i, (job, row) in enumerate(zip(jobs, told, strict=True))
    ]


def _job(gram: torch.Tensor, budget: int, weights: torch.Tensor | None, first: torch.Tensor | None) -> launch.Job:
    device = gram.device
    if weights is None:
        weights = torch.ones(len(gram), dtype=torch.float32, device=device)
    else:
        weights = sent(weights.detach(), device).float().contiguous()
    if first is None:
        first = torch.empty(0, dtype=torch.int64, device=device)
    elif first.device != device:
        first = sent(first, device)
    return launch.Job(gram, weights, first.contiguous(), budget)


@cache
def _lacks(device: torch.device) -> str | None:
    if device.type != "cuda" or torch.version.hip:
        return "the kernel is for CUDA."
    if kernel.triton is None:
        return "Triton is not installed."
    if torch.cuda.get_device_capability(device) < (7, 0):
        return f"{torch.cuda.get_device_name(device)} is older than compute capability 7.0."
    return None


@cache
def _say(words: str) -> None:
    warnings.warn(words, RuntimeWarning, stacklevel=4)
