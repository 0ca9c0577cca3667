"""What pruning did to one image: the record that callers, the page and studies read."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from resprune.device import SharedSpan, Span
from resprune.selection import Selection


@dataclass(frozen=True)
class PruneResult:
    """What happened to one image. All tensors are on the CPU when they are read; N is the number of its visual tokens.

    What is not needed before the first token takes its time when somebody asks: copying from an accelerator, waiting
    for a clock, ranking what was dropped.

    Attributes:
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each token.
        selection: what the method chose, where the image was.
        nouns: of the question, in the order in which they appear, or all its words if the settings say so; none where
            the method does not ask for them.
        tokens_kept: how many stayed.
        took: the time of pruning, see :attr:`select_ms`.
        method: its name.
        per_noun: ``[J, N]`` float32, what :attr:`relevance` reads; ``None`` where there are no nouns.
        weights: ``[k]`` float32, what :attr:`mass` reads.
        average: mean number of visual tokens that a layer reads, where layers differ; ``None`` where each reads
            ``tokens_kept``.
        remarks: of :attr:`notes`, those that were known at once.
    """

    coords: torch.Tensor
    selection: Selection
    nouns: list[str]
    tokens_kept: int
    took: Span | SharedSpan
    method: str
    per_noun: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    average: float | None = None
    remarks: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which may have no accelerator."""
        there = {name: getattr(self, name) for name in ("selection", "per_noun", "weights")}
        return vars(self) | {name: _on_host(value) for name, value in there.items()}

    @property
    def tokens_total(self) -> int:
        """N."""
        return len(self.coords)

    @cached_property
    def kept(self) -> list[tuple[int, int, int]]:
        """``(tile, row, col)`` of the tokens that stayed, in the order of selection."""
        return [tuple(place) for place in self.coords[self.selection.chosen.cpu()].tolist()]

    @cached_property
    def relevance(self) -> dict[str, torch.Tensor]:
        """For each noun ``[N]`` float32, its cosine with each token."""
        return {} if self.per_noun is None else dict(zip(self.nouns, self.per_noun.cpu(), strict=True))

    @cached_property
    def mass(self) -> torch.Tensor | None:
        """``[k]`` float32 along :attr:`kept`, how many tokens each stands for, itself and those alike, at most N in
        all; ``None`` where none is carried.
        """
        return None if self.weights is None else self.weights.cpu()

    @cached_property
    def notes(self) -> list[str]:
        """Sentences for the user."""
        notes = [*self.remarks, *filter(None, [self.selection.note])]
        if len(self.tiles) > 1:
            notes.append(f"Kept in tiles {', '.join(f'{t}: {k} of {n}' for t, (k, n) in self.tiles.items())}.")
        return notes

    @property
    def select_ms(self) -> float:
        """Milliseconds that pruning took beyond a run without it; those of one call's images add up to the whole."""
        return self.took.ms

    @property
    def tiles(self) -> dict[int, tuple[int, int]]:
        """How the budget fell on the tiles: of each, how many tokens stayed, and how many it has."""
        kept = Counter(tile for tile, _, _ in self.kept)
        return {tile: (kept[tile], total) for tile, total in sorted(Counter(self.coords[:, 0].tolist()).items())}

    @property
    def order(self) -> torch.Tensor:
        """``[N]`` int64, all tokens, best first: the first k are what a budget of k keeps, if the method is nested."""
        return self.selection.order.cpu()

    @property
    def energy(self) -> torch.Tensor | None:
        """``[N]`` float32, residual energy of each token when chosen, along ``order``; ``None`` where none is known."""
        return None if self.selection.energy is None else self.selection.energy.cpu()

    @property
    def captured(self) -> torch.Tensor | None:
        """``[N]`` float32 in ``[0, 1]``, share of the energy that the first 1..N of ``order`` span, or ``None``."""
        return None if self.selection.captured is None else self.selection.captured.cpu()


def _on_host(value: Selection | torch.Tensor | None) -> Selection | torch.Tensor | None:
    return value.cpu() if isinstance(value, torch.Tensor) else value  # a selection sees to itself
