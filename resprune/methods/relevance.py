"""Relevance alone, without a subspace."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import largest
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def relevance(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The most relevant tokens, whatever they share; by index where they tie or the question names nothing."""
    if tokens.relevance is None:
        return Selection.of(torch.arange(len(tokens)), k)
    return largest(tokens.relevance.cpu(), k)
