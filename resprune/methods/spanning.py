"""Methods that keep the tokens which span the most: one kernel, two ways to weigh."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from resprune.relevance import FLOOR
from resprune.selection import Selection, gram_matrix, select
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def resprune(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy subspace expansion on the raw features, weighted by ``g(r) = r ** alpha`` (ResPrune, arXiv 2603.21105).

    ``settings.sign = -1`` weighs by ``(1 - r) ** alpha``, which prefers what the question does not name, as SPARE
    (arXiv 2606.18681) does. Where the question names nothing, or ``alpha`` is 0, all tokens weigh the same.
    """
    relevance = tokens.relevance
    if relevance is None or settings.alpha == 0:
        return select(_gram(tokens), k, None)
    if settings.sign < 0:
        relevance = (1 - relevance).clamp_min(FLOOR)
    return select(_gram(tokens), k, relevance**settings.alpha)


def cdpruner(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy MAP of the determinantal point process ``L = diag(r) S diag(r)``, S the cosines (CDPruner, 2506.10967).

    CDPruner takes r from CLIP's text tower and negates it on LLaVA. Not every model has such a tower, so here r is
    the relevance that ResPrune uses, in the language model's own embedding space and not negated; it is 1 where the
    question names nothing. ``settings.alpha`` and ``settings.sign`` are not used.
    """
    # L is the Gram matrix of the rows scaled by r / |v|: weights of the square, and no normalised copy is needed.
    norms = torch.from_numpy(np.sqrt(tokens.gram.diagonal()))
    scale = norms.clamp_min(1e-9).reciprocal()  # whose square float32 still holds
    if tokens.relevance is not None:
        scale = scale * tokens.relevance.cpu()
    return select(_gram(tokens), k, scale.square())


def _gram(tokens: VisualTokens) -> np.ndarray:
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
