"""ResPrune: the kept tokens span the most, weighed by the question."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from resprune.relevance import FLOOR
from resprune.selection import Selection, gram_matrix, select
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def resprune(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy subspace expansion, each token weighed by its relevance to the question (ResPrune, arXiv 2603.21105).

    A token's weight is ``1 + alpha * c``, c its cosine with the question's words, and never so small that what the
    question does not name is shut out. ``weighting="power"`` is the paper's ``r ** alpha``, r the same cosine stretched
    to (0, 1] over the image. ``sign=-1`` turns either around: ``1 / (1 + alpha * c)``, or ``(1 - r) ** alpha`` as in
    SPARE (arXiv 2606.18681). Where the question names nothing, or ``alpha`` is 0, all tokens weigh the same.
    ``kernel`` says whether features are centred or normalised first.
    """
    products, weights = gram(tokens), _weights(tokens, settings)
    own = tokens.gram.diagonal()
    if settings.kernel in ("centred", "both"):
        mean = products.mean(0)
        products = products - mean - mean[:, None] + mean.mean()
        own = products.diagonal()
    if settings.kernel in ("normalised", "both"):
        # Scaling a vector is weighing its energy.
        scale = torch.from_numpy(1 / own.clip(1e-18))
        weights = scale if weights is None else scale * weights
    return select(products, k, weights)


def _weights(tokens: VisualTokens, settings: "Settings") -> torch.Tensor | None:
    """``[N]`` on the CPU; ``None`` where all are the same."""
    if tokens.relevance is None or settings.alpha == 0:
        return None
    if settings.weighting == "bounded":
        weights = 1 + settings.alpha * tokens.cosine.cpu()
        return weights if settings.sign > 0 else 1 / weights
    relevance = tokens.relevance.cpu()
    return (relevance if settings.sign > 0 else (1 - relevance).clamp_min(FLOOR)) ** settings.alpha


def gram(tokens: VisualTokens) -> np.ndarray:
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
