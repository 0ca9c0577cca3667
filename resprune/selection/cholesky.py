"""Pivoted Cholesky factorisation of a Gram matrix, for the greedy choice of a subspace."""

import math
from collections.abc import Sequence

import numpy as np

from resprune.device import one_thread

# A token is spent once its residual is this share of its own energy. In float32, rounding leaves up to 2e-6 on an exact
# duplicate of a chosen token, which must not be chosen again. LAPACK measures against the largest token instead, which
# would drop every token that is small or of little weight.
SPENT = 1e-5


class PivotedCholesky:
    """Pivoted Cholesky factorisation that stops after any pivot and can be continued.

    It runs in blocks. Inside a block each pivot costs one matrix-vector product with the block's rows of the factor
    (left-looking), so that a small budget never pays for the other columns. Between blocks the Gram matrix shrinks to
    what is left of the other tokens (right-looking), one matrix product.

    Args:
        gram, weights: ``[N, N]`` and ``[N]`` float32.
        first: tokens that come first, in this order, whatever their energy; where nothing but rounding is left of one,
            it adds nothing to what is spanned.

    Attributes:
        order, energy: the pivots so far, and the weighted residual energy of each when it was chosen.
        spent: nothing but rounding is left of any token.
    """

    def __init__(self, gram: np.ndarray, weights: np.ndarray, first: Sequence[int] = ()) -> None:
        self._first = first
        self.order: list[int] = []
        self.energy: list[float] = []
        self.spent = False
        self._all_weights = weights
        self._total = float(np.dot(weights.astype(np.float64), gram.diagonal()))
        self._gained = [np.zeros(0)]  # by how much each pivot lowered the weighted energy of all tokens
        # Of the M tokens left when the current block began:
        self._tokens = np.arange(len(gram))
        self._gram = gram  # [M, M], what earlier blocks left of their inner products
        self._weights = weights
        self._residual = gram.diagonal().copy()  # squared norms of what all pivots have left, 0 of a pivot itself
        self._floor = SPENT * self._residual
        self._factor = np.empty((0, len(gram)), np.float32)  # [B, M], this block's rows

    def advance(self, k: int) -> None:
        """Go on until there are ``k`` pivots, or nothing is left."""
        block = max(64, len(self._all_weights) // 4)
        while len(self.order) < k and (not self.spent or len(self.order) < len(self._first)):
            if len(self._factor):
                self._shrink()
            else:
                with one_thread():
                    most = len(self._first) if self.spent else k  # where nothing is left, only those that come first
                    self._expand(min(block, most - len(self.order), k - len(self.order)))

    def ranked(self) -> np.ndarray:
        """``[N]`` int64, the pivots, then the other tokens by weight, largest first, then by index."""
        others = np.ones(len(self._all_weights), bool)
        others[self.order] = False
        others = np.flatnonzero(others)
        by_weight = np.argsort(-self._all_weights[others], kind="stable")
        return np.concatenate([np.asarray(self.order, np.int64), others[by_weight]])

    def finish(self, ahead: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``order``, ``energy`` and ``captured`` of a :class:`Selection`, of which ``ahead`` tokens stay anyway.

        The energy of those is infinite and what they capture 0: what follows tells of the energy that they leave.
        Where ``ahead`` is not given, they are all that came first.
        """
        ahead = len(self._first) if ahead is None else ahead
        count = len(self._all_weights)
        self.advance(count)
        self._shrink()
        gained = np.concatenate(self._gained)
        energy = np.zeros(count, np.float32)
        energy[: len(gained)] = self.energy
        energy[:ahead] = np.inf
        captured = np.ones(count)  # of nothing, everything is captured
        left = self._total - gained[:ahead].sum()
        if len(gained) > ahead and left > SPENT * self._total:  # less is rounding
            captured = np.minimum(gained[ahead:].cumsum() / left, 1)
            captured = np.pad(captured, (0, count - len(gained)), mode="edge")
            captured = np.concatenate([np.zeros(ahead), captured])
        captured[:ahead] = 0
        return self.ranked(), energy, captured.astype(np.float32)

    def _expand(self, size: int) -> None:
        """One block of at most ``size`` pivots."""
        gram, weights, residual, floor = self._gram, self._weights, self._residual, self._floor
        factor = np.empty((size, len(gram)), np.float32)
        score, square = np.empty_like(residual), np.empty_like(residual)
        forced = list(self._first[len(self.order) :][:size])
        ahead, pivots, energy = len(forced), [], []
        for step in range(size):
            np.multiply(weights, residual, out=score)
            row = factor[step]
            if step < ahead:
                pivot = self._place(forced[step])
                if pivot is None:
                    row[:] = 0
                    energy.append(0.0)
                    continue
            else:
                pivot = score.argmax()
                if residual[pivot] <= floor[pivot]:
                    residual[residual <= floor] = 0
                    np.multiply(weights, residual, out=score)
                    pivot = score.argmax()
                if score[pivot] <= 0:
                    self.spent = True
                    break
                pivots.append(pivot)
            np.dot(factor[:step, pivot], factor[:step], out=row)
            np.subtract(gram[pivot], row, out=row)
            np.multiply(row, 1 / math.sqrt(residual[pivot]), out=row)
            np.multiply(row, row, out=square)
            np.subtract(residual, square, out=residual)
            residual[pivot] = 0
            energy.append(score[pivot])
        self._factor = factor[: len(energy)]
        self.order += forced + self._tokens[np.array(pivots, np.int64)].tolist()
        self.energy += energy

    def _place(self, token: int) -> int | None:
        """Where ``token`` is among those left; ``None`` if nothing of it is."""
        place = int(np.searchsorted(self._tokens, token))
        found = place < len(self._tokens) and self._tokens[place] == token
        return place if found and self._residual[place] > self._floor[place] else None

    def _shrink(self) -> None:
        """Close a block: account for what it gained, and go on with what it left."""
        self._gained.append(np.square(self._factor) @ self._weights)
        stays = self._residual > self._floor
        factor = self._factor[:, stays]
        self._gram = self._gram[np.ix_(stays, stays)] - factor.T @ factor
        self._tokens, self._weights = self._tokens[stays], self._weights[stays]
        self._residual, self._floor = self._residual[stays], self._floor[stays]
        self._factor = factor[:0]
        self.spent |= not stays.any()
