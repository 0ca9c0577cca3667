"""What methods share that give each token a score of its own."""

import torch

from resprune.errors import InputError
from resprune.methods.base import Method
from resprune.methods.saliency import Saliency
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


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


def saliency_of(tokens: VisualTokens, method: Method) -> Saliency:
    """What the CLS token attends to.

    Raises:
        InputError: if the model has none.
    """
    if tokens.saliency is None:
        raise InputError(
            f"The method {method.name!r} chooses by the attention of a CLS token, which is known of LLaVA-1.5's "
            "vision tower only; choose another method, or give such a model, and its images or what "
            "resprune.encode made of them."
        )
    return tokens.saliency


def attention(tokens: VisualTokens, method: Method) -> torch.Tensor:
    """``[N]`` float32, how much the CLS token attends to each patch, the mean over heads.

    Raises:
        InputError: if the model has no CLS token, or the features hold no numbers.
    """
    saliency = saliency_of(tokens, method)
    finite(tokens)
    return saliency.attention.mean(0).cpu()
