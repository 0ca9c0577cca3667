"""Shortening a prompt: the one place that keeps its columns, positions and lengths consistent."""

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import pad

from resprune.device import sent
from resprune.errors import InputError


@dataclass(frozen=True)
class Shortened:
    """A prompt of which some columns are not sent to the model.

    Attributes:
        columns: ``[B, L]`` int64, which column of the caller's prompt each sent column is; -1 is padding.
        length: S, the number of columns of the caller's prompt.
        lacks: whether any of the caller's columns is not sent, padding apart.
        padded: whether there may be padding among the columns.
    """

    columns: torch.Tensor
    length: int
    lacks: bool
    padded: bool

    def to(self, device: torch.device) -> "Shortened":
        """The same on another device."""
        return replace(self, columns=sent(self.columns, device))

    def take(self, values: torch.Tensor, fill: int) -> torch.Tensor:
        """``[..., B, S]`` values of the caller's columns to ``[..., B, L]`` of those sent, with ``fill`` as padding."""
        columns = self.columns.expand(*values.shape[:-1], -1)
        if not self.padded:
            return values.gather(-1, columns)
        return values.gather(-1, columns.clamp_min(0)).masked_fill(columns < 0, fill)

    def sent(self) -> torch.Tensor:
        """``[B, S]`` bool, which of the caller's columns are sent."""
        flags = self.columns.new_zeros(len(self.columns), self.length + 1, dtype=torch.bool)
        # The remainder of -1 is S: padding marks the column that is then cut off.
        return flags.scatter_(1, self.columns % (self.length + 1), True)[:, :-1]

    def in_cache(self, entries: int) -> torch.Tensor:
        """``[B, entries]`` columns that a KV cache holds, which this prompt and what followed it filled."""
        more = max(0, entries - self.columns.shape[1])
        following = torch.arange(self.length, self.length + more, device=self.columns.device)
        return torch.cat([self.columns, following.expand(len(self.columns), -1)], dim=1)[:, :entries]

    def repeated(self, rows: int) -> "Shortened":
        """The same for a batch in which ``generate`` repeated each row, ``rows`` in all."""
        return replace(self, columns=self.columns.repeat_interleave(rows // len(self.columns), dim=0))


def end_of(cached: torch.Tensor) -> int:
    """The first of the caller's columns that is not in the cache yet.

    Args:
        cached: ``[B, P]`` columns that the cache holds.

    Raises:
        InputError: if the rows differ in it.
    """
    if not cached.shape[1]:
        return 0
    ends = cached.amax(dim=1) + 1
    if (ends != ends[0]).any():
        raise InputError("The cache ends inside a pruned image; cut it before the image or after the prompt.")
    return int(ends[0])


def shorten(
    mask: torch.Tensor,
    dropped: torch.Tensor,
    stay: list[int] | None,
    cached: torch.Tensor,
    force_padding: bool = False,
) -> Shortened:
    """Decide which columns of a prompt are sent.

    Dropping leaves rows of different lengths; they are padded on the left, as generation wants them. Where nothing is
    dropped the prompt is as it was, its padding included.

    Args:
        mask: ``[B, S]``, the caller's attention mask.
        dropped: ``[B, S]`` bool, the columns that are not to be sent. They and the mask may be on an accelerator, which
            is not waited for.
        stay: of each row, how many columns that are new and no padding are sent; ``None`` where none is dropped.
        cached: ``[B, P]`` int64 on the CPU, columns that a KV cache holds; they stay as they are.
        force_padding: where columns are dropped, put one of padding before what is new if there is none.
    """
    start, known, length = end_of(cached), sent(cached, dropped.device), mask.shape[1]
    if stay is None:
        columns = torch.arange(start, length, device=dropped.device).expand(len(mask), -1)
        lacks = bool((cached != torch.arange(cached.shape[1], device="cpu")).any()) or start > cached.shape[1]
        return Shortened(torch.cat([known, columns], dim=1), length, lacks, padded=_has_padding(cached))
    new = (mask.bool() & ~dropped)[:, start:]
    # A stable sort brings the columns that stay to the right, in their order.
    order = new.argsort(dim=1, stable=True)[:, new.shape[1] - max(stay) :]
    padded = min(stay) < max(stay)
    columns = order + start if start else order
    if padded:
        columns = columns.masked_fill(~new.gather(1, order), -1)
    elif force_padding:
        padded, columns = True, pad(columns, (1, 0), value=-1)
    if cached.shape[1]:
        columns = torch.cat([known, columns], dim=1)
    return Shortened(columns, length, lacks=True, padded=padded or _has_padding(cached))


def _has_padding(cached: torch.Tensor) -> bool:
    return bool(cached.numel()) and bool((cached < 0).any())
