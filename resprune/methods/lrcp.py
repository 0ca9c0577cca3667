"""LRCP: the tokens that the main directions of a picture explain worst."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import finite, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection

DOMINANT = 4  # directions that LRCP drops; its value for LLaVA (8 for Qwen)


@dataclass(frozen=True)
class LRCP(Method):
    """What the largest principal components explain worst.

    Principal components of the centred features; what is left of a token without its part along the :data:`DOMINANT`
    largest of them is its score. Ties go to the lowest index.

    Paper: LRCP, arXiv 2605.15621, 2026
    Source: our own
    """

    name: ClassVar[str] = "lrcp"

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        centred = finite(tokens)
        centred = centred - centred.mean(0)
        _, _, directions = torch.linalg.svd(centred, full_matrices=False)
        dominant = directions[:DOMINANT]
        return largest((centred - centred @ dominant.T @ dominant).norm(dim=1), k)
