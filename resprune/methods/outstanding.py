"""Methods that keep the tokens which stand out, each by itself."""

from typing import TYPE_CHECKING

import torch

from resprune.errors import InputError
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings

DOMINANT = 4  # directions that LRCP drops; its value for LLaVA (8 for Qwen)


def norm(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The longest tokens (L2), ties by index."""
    return _largest(_finite(tokens).norm(dim=1), k)


def lrcp(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The tokens that the :data:`DOMINANT` principal directions of the picture explain worst (LRCP).

    Principal components of the centred features; what is left of a token without its part along the largest of them
    is its score. Ties go to the lowest index.
    """
    centred = _finite(tokens)
    centred = centred - centred.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    dominant = directions[:DOMINANT]
    return _largest((centred - centred @ dominant.T @ dominant).norm(dim=1), k)


def _finite(tokens: VisualTokens) -> torch.Tensor:
    features = tokens.features.float().cpu()
    if not features.isfinite().all():
        raise InputError("The features hold NaN or infinity, or are too large for float32; give finite values.")
    return features


def _largest(scores: torch.Tensor, k: int) -> Selection:
    return Selection.of(scores.argsort(descending=True, stable=True), k)
