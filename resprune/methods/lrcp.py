"""LRCP: the tokens that the main directions of a picture explain worst."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import finite, largest
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings

DOMINANT = 4  # directions that LRCP drops; its value for LLaVA (8 for Qwen)


def lrcp(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The tokens that the :data:`DOMINANT` principal directions of the picture explain worst (LRCP).

    Principal components of the centred features; what is left of a token without its part along the largest of them
    is its score. Ties go to the lowest index.
    """
    centred = finite(tokens)
    centred = centred - centred.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    dominant = directions[:DOMINANT]
    return largest((centred - centred @ dominant.T @ dominant).norm(dim=1), k)
