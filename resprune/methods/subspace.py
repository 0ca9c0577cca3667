"""ResPrune without the question."""

from dataclasses import replace
from typing import TYPE_CHECKING

from resprune.methods.resprune import resprune
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def subspace(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy subspace expansion on the raw features: the paper's ResPrune, but the question plays no part."""
    return resprune(tokens, k, replace(settings, alpha=0.0, kernel="raw"))
