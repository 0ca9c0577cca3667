"""What pruning did to one image: the record that callers, the page and studies read."""

from collections import Counter
from dataclasses import dataclass, field

import torch

from resprune.device import SharedSpan, Span
from resprune.selection import Selection


@dataclass(frozen=True)
class PruneResult:
    """What happened to one image. All tensors are on the CPU; N is the number of its visual tokens.

    Attributes:
        kept: ``(tile, row, col)`` of the tokens that stayed, in the order of selection.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each token.
        selection: what the method chose.
        relevance: for each noun ``[N]`` float32, its cosine with each token.
        nouns: of the question, in the order in which they appear, or all its words if the settings say so; none where
            the method does not ask for them.
        tokens_total: N.
        tokens_kept: how many stayed.
        took: the time of pruning, see :attr:`select_ms`.
        method: its name.
        mass: ``[k]`` float32 along ``kept``, how many tokens each stands for, itself and those alike, at most N in
            all; ``None`` where none is carried.
        average: mean number of visual tokens that a layer reads, where layers differ; ``None`` where each reads
            ``tokens_kept``.
        notes: sentences for the user.
    """

    kept: list[tuple[int, int, int]]
    coords: torch.Tensor
    selection: Selection
    relevance: dict[str, torch.Tensor]
    nouns: list[str]
    tokens_total: int
    tokens_kept: int
    took: Span | SharedSpan
    method: str
    mass: torch.Tensor | None = None
    average: float | None = None
    notes: list[str] = field(default_factory=list)

    # What is not needed before the first token takes its time when somebody asks: waiting for a clock, ranking what was
    # dropped.

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
