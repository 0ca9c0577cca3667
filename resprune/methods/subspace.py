"""ResPrune without the question, and what methods share that grow a subspace."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, gram_matrix, select


@dataclass(frozen=True)
class Subspace(Method):
    """The paper's ResPrune without the question: greedy subspace expansion on the raw features.

    Paper: ResPrune, arXiv 2603.21105, 2026 (its ablation)
    Source: our own; the authors had released none
    """

    name: ClassVar[str] = "subspace"
    energies: ClassVar[bool] = True

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        return select(products_beyond(tokens), k, None)


def products_beyond(tokens: VisualTokens) -> np.ndarray:
    """``[N, N]`` inner products of what the tokens that stay anyway leave of the candidates."""
    return tokens.gram if tokens.present is None else gram_matrix(beyond(tokens))


def beyond(tokens: VisualTokens) -> torch.Tensor:
    """``[N, D]`` features without their part in the span of the tokens that are present anyway.

    The greedy choice goes on from there as if it had chosen those tokens first.
    """
    if tokens.present is None:
        return tokens.features
    features = tokens.features.float()
    directions, sizes, _ = torch.linalg.svd(tokens.present.float().T, full_matrices=False)
    basis = directions[:, sizes > 1e-5 * sizes[0]]
    return features - (features @ basis) @ basis.T
