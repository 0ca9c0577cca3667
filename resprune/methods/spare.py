"""ResPrune with relevance turned around."""

from dataclasses import replace
from typing import TYPE_CHECKING

from resprune.methods.resprune import resprune
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def spare(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """ResPrune with ``sign = -1``: tokens that the question does not name come first, as in SPARE (arXiv 2606.18681).

    Only the weights are SPARE's; the kernel and the relevance are ours.
    """
    return resprune(tokens, k, replace(settings, sign=-1))
