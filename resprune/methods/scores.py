"""What methods share that give each token a score of its own."""

import torch

from resprune.errors import InputError
from resprune.selection import Selection
from resprune.tokens import VisualTokens


def finite(tokens: VisualTokens) -> torch.Tensor:
    """``[N, D]`` float32 features on the CPU.

    Raises:
        InputError: if one is NaN or infinite.
    """
    features = tokens.features.float().cpu()
    if not features.isfinite().all():
        raise InputError("The features hold NaN or infinity, or are too large for float32; give finite values.")
    return features


def largest(scores: torch.Tensor, k: int) -> Selection:
    """The ``k`` tokens of the largest ``scores`` ``[N]``; ties go to the lowest index."""
    return Selection.of(scores.argsort(descending=True, stable=True), k)


def attention(tokens: VisualTokens) -> torch.Tensor:
    """``[N]`` float32, how much the CLS token attends to each patch, the mean over heads.

    Raises:
        InputError: if the features hold no numbers.
    """
    finite(tokens)
    return tokens.saliency.attention.mean(0).cpu()
