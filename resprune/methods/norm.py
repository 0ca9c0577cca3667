"""The longest tokens: a baseline."""

from typing import TYPE_CHECKING

from resprune.methods.scores import finite, largest
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def norm(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """The longest tokens (L2), ties by index."""
    return largest(finite(tokens).norm(dim=1), k)
