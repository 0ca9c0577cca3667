"""What is left of ResPrune when a part of it is taken away or turned around."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from resprune.methods.spanning import resprune
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def subspace(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """ResPrune with ``alpha = 0``: the question plays no part."""
    return resprune(tokens, k, replace(settings, alpha=0.0))


def spare(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """ResPrune with ``sign = -1``: tokens that the question does not name come first, as in SPARE (arXiv 2606.18681).

    Only the weights are SPARE's; the kernel and the relevance are ours.
    """
    return resprune(tokens, k, replace(settings, sign=-1))


def relevance(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The most relevant tokens, whatever they share; by index where they tie or the question names nothing."""
    if tokens.relevance is None:
        return Selection.of(torch.arange(len(tokens)), k)
    return Selection.of(tokens.relevance.cpu().argsort(descending=True, stable=True), k)
