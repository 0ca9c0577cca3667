"""DivPrune: the kept tokens are as far from each other as can be."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from resprune.errors import InputError
from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


@dataclass(frozen=True)
class DivPrune(Method):
    """Largest smallest cosine distance between kept tokens; the question plays no part.

    First the token whose nearest other token is farthest, then always the one farthest from its nearest kept token;
    ties go to the lowest index. A token of length zero is at distance 1 from every other.

    Paper: DivPrune, arXiv 2503.02175, 2025
    Source: our own; the authors' code is github.com/vbdi/divprune
    """

    name: ClassVar[str] = "divprune"

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        norms = np.sqrt(tokens.gram.diagonal()).clip(1e-12)
        if not np.isfinite(norms).all():
            raise InputError("The features hold NaN or infinity, or are too large for float32; give finite values.")
        similarity = tokens.gram / norms
        similarity /= norms[:, None]
        np.fill_diagonal(similarity, -2)  # below any cosine: a token is not its own neighbour
        pick = similarity.max(1).argmin()
        np.fill_diagonal(similarity, 2)  # above any cosine: once chosen, out of the running
        order = np.empty(len(similarity), np.int64)
        nearest = np.full(len(similarity), -2, np.float32)  # cosine with the most similar token chosen so far
        for step in range(len(order)):
            order[step] = pick
            np.maximum(nearest, similarity[pick], out=nearest)
            pick = nearest.argmin()
        return Selection.of(torch.from_numpy(order), k)
