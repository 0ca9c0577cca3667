"""The longest tokens: a baseline."""

from dataclasses import dataclass
from typing import ClassVar

from resprune.methods.base import Method
from resprune.methods.scores import finite, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


@dataclass(frozen=True)
class Norm(Method):
    """The longest tokens (L2), ties by index.

    Paper: none, a baseline
    """

    name: ClassVar[str] = "norm"

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        return largest(finite(tokens).norm(dim=1), k)
