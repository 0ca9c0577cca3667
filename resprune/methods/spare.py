"""ResPrune with relevance turned around."""

from dataclasses import replace
from typing import TYPE_CHECKING

from resprune.methods.resprune import resprune
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def spare(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The paper's ResPrune with ``sign = -1``: what the question does not name comes first (SPARE, arXiv 2606.18681).

    Only the weights are SPARE's; the kernel and the relevance are ours.
    """
    return resprune(tokens, k, replace(settings, sign=-1, weighting="power", alpha=1.0, kernel="raw"))
