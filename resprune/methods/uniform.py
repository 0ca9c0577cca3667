"""An even grid: it looks neither at the features nor at the question, and is stronger than one expects."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, checked_budget


@dataclass(frozen=True)
class Uniform(Method):
    """An even grid over the picture.

    Not nested: the grid of a smaller budget is another one. ``order`` is the kept tokens as they are read, row by row,
    then all others likewise.

    Paper: none, a baseline
    """

    name: ClassVar[str] = "uniform"
    nested: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        k = checked_budget(k, len(tokens))
        tiles = tokens.coords[:, 0].tolist()
        members = {tile: [i for i, t in enumerate(tiles) if t == tile] for tile in sorted(set(tiles))}
        kept, seen = [], 0
        for indices in members.values():
            before, seen = seen, seen + len(indices)
            share = seen * k // len(tokens) - before * k // len(tokens)  # rounding carries over, so shares add up to k
            places = [(row, col) for row, col in tokens.coords[indices, 1:].tolist()]
            kept += [indices[i] for i in _grid(places, share)]
        others = sorted(set(range(len(tokens))) - set(kept))
        return Selection.of(torch.tensor(kept + others, device="cpu"), k)


def _grid(places: list[tuple[int, int]], k: int) -> list[int]:
    """Indices of ``k`` of the ``(row, col)`` in ``places``, at the centres of about square cells, in reading order."""
    if k == 0:
        return []
    rows, cols = (1 + max(axis) for axis in zip(*places, strict=True))
    down = min(rows, max(round(sqrt(k * rows / cols)), ceil(k / cols), 1))
    centres = set()
    for i in range(down):
        across = (i + 1) * k // down - i * k // down  # k in all, and no two rows of cells differ by more than one
        centres |= {((2 * i + 1) * rows // (2 * down), (2 * j + 1) * cols // (2 * across)) for j in range(across)}
    reading = sorted(range(len(places)), key=lambda i: places[i])
    chosen = [i for i in reading if places[i] in centres]
    if missing := k - len(chosen):  # the tile has gaps
        others = [i for i in reading if places[i] not in centres]
        chosen += [others[(2 * i + 1) * len(others) // (2 * missing)] for i in range(missing)]
    return sorted(chosen, key=lambda i: places[i])
