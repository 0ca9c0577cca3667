"""ResPrune as its paper has it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from resprune.methods.resprune import resprune
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def paper(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy subspace expansion on the raw features, weighted by relevance, ``alpha = 1`` (arXiv 2603.21105).

    How the paper brings relevance to (0, 1], and which exponent it takes, is not in it.
    """
    return resprune(tokens, k, replace(settings, weighting="power", alpha=1.0, kernel="raw"))
