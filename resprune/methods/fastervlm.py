"""FasterVLM: what the CLS token attends to."""

from typing import TYPE_CHECKING

from resprune.methods.scores import attention, largest
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def fastervlm(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The patches to which the CLS token attends most, the mean over heads (FasterVLM, arXiv 2412.01818)."""
    return largest(attention(tokens), k)
