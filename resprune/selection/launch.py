"""How the kernel is launched: which blocks an image falls into, and what is allocated for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from resprune.selection import kernel
from resprune.selection.cholesky import SPENT

BLOCKS = (16, 32, 64, 128, 256)  # columns of a program, the fewest that fit; each is one compilation
LEAST_PARTS = 32  # so that few numbers of programs are compilations of their own
TILE = 8192  # numbers of the factor that a program holds in registers


class NotLaunched(Exception):
    """The device did not take the choice, and says why; ``lasting`` if it will not take others either."""

    def __init__(self, reason: str, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


@dataclass(frozen=True)
class Job:
    """One image: ``gram [N, N]``, ``weights [N]`` float32 and ``first [P]`` int64, contiguous on one device.

    ``budget`` is at most N and counts the tokens that come first.
    """

    gram: torch.Tensor
    weights: torch.Tensor
    first: torch.Tensor
    budget: int

    def __len__(self) -> int:
        return len(self.gram)

    @property
    def stride(self) -> int:
        """Of a row of the factor."""
        return -(-self.budget // kernel.ALIGN) * kernel.ALIGN


def choose(jobs: Sequence[Job]) -> list[torch.Tensor]:
    """Make the choice of all images, in one launch where they fit the device together, and do not wait for it.

    The device is the current one, since Triton launches there.

    Beside the inner products it takes the factor, N x k float32 an image with k rounded up to 16, and some bytes a
    program; all of it is free again for what is queued next.

    Returns:
        For each image ``[FAULTS + k]`` int64 on the device: whether something was wrong with the inner products, the
        weights or the tokens to come first (then the choice is arbitrary, though none is in it twice), and the chosen
        tokens, in the order of selection.

    Raises:
        torch.OutOfMemoryError: if there is no memory for the factor.
        NotLaunched: if an image has too many tokens for this device, or Triton can not compile or launch.
    """
    device = jobs[0].gram.device
    block = block_of(max(map(len, jobs)), len(jobs), programs_of(device))
    if block is None:
        half = len(jobs) // 2
        if not half:
            raise NotLaunched(f"{len(jobs[0])} tokens are too many for this accelerator.", lasting=False)
        return choose(jobs[:half]) + choose(jobs[half:])
    return _launched(jobs, block)


def block_of(tokens: int, images: int, programs: int | None) -> int | None:
    """How many columns a program takes, such that all ``programs`` are resident together; ``None`` if none will do.

    Where ``programs`` is ``None`` an image is one program, as Triton's interpreter needs it.
    """
    if programs is None:
        return 1 << (tokens - 1).bit_length()
    return next((block for block in BLOCKS if -(-tokens // block) * images <= programs), None)


def shape_of(block: int, parts: int) -> dict[str, int]:
    """The kernel's compile-time numbers and options: nothing else that varies compiles anew."""
    return {
        "COLUMNS": block,
        "ROWS": max(min(64, TILE // block), 1),
        "PARTS": max(1 << (parts - 1).bit_length(), LEAST_PARTS),
        "num_warps": 4 if block < 256 else 8,
    }


@cache
def programs_of(device: torch.device) -> int | None:
    """One a multiprocessor: that many are resident together whatever registers they take."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else None


def _launched(jobs: Sequence[Job], block: int) -> list[torch.Tensor]:
    device, images, width = jobs[0].gram.device, len(jobs), kernel.FAULTS + max(job.budget for job in jobs)
    parts = max(-(-len(job) // block) for job in jobs)

    def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device=device)

    table = empty(images, kernel.FIELDS, dtype=torch.int64)
    told = empty(images, width, dtype=torch.int64)
    arrived = empty(images, dtype=torch.int32)
    offers = [empty(images, 2, parts, dtype=dtype) for dtype in (torch.float32, torch.int32, torch.float32)]
    factor = empty(sum(len(job) * job.stride for job in jobs), dtype=torch.float32).zero_()
    try:
        begin = 0
        for image, job in enumerate(jobs):
            given = (job.gram, job.weights, job.first, begin // kernel.ALIGN, len(job), job.budget, len(job.first))
            kernel.describe[(1,)](table, arrived, told, image, *given, width)
            begin += len(job) * job.stride
        options = shape_of(block, parts)
        if device.type == "cuda":
            options["launch_cooperative_grid"] = True
        kernel.choose[(parts, images)](table, factor, *offers, arrived, told, width, SPENT=SPENT, **options)
    except Exception as error:  # of a compiler or of the driver, which share no class
        if "out of memory" in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise NotLaunched(f"Triton failed there ({type(error).__name__}: {error}).", lasting=True) from error
    return [row[: kernel.FAULTS + job.budget] for row, job in zip(told, jobs, strict=True)]
