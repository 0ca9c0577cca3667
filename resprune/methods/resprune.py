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
    """Greedy subspace expansion on the raw features, weighted by ``g(r) = r ** alpha`` (ResPrune, arXiv 2603.21105).

    ``settings.sign = -1`` weighs by ``(1 - r) ** alpha``, which prefers what the question does not name, as SPARE
    (arXiv 2606.18681) does. Where the question names nothing, or ``alpha`` is 0, all tokens weigh the same.
    ``settings.kernel`` centres or normalises the features first, which the paper does not.
    """
    relevance, products = tokens.relevance, _prepared(gram(tokens), settings.kernel)
    if relevance is None or settings.alpha == 0:
        return select(products, k, None)
    if settings.sign < 0:
        relevance = (1 - relevance).clamp_min(FLOOR)
    return select(products, k, relevance**settings.alpha)


def _prepared(products: np.ndarray, kernel: str) -> np.ndarray:
    """Inner products ``[N, N]`` of features that were centred, then normalised, as ``settings.kernel`` says."""
    if kernel in ("centred", "both"):
        mean = products.mean(0)
        products = products - mean - mean[:, None] + mean.mean()
    if kernel in ("normalised", "both"):
        norms = np.sqrt(products.diagonal()).clip(1e-9)
        products = products / norms / norms[:, None]
    return products


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
