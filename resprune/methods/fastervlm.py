"""FasterVLM: what the CLS token attends to."""

from dataclasses import dataclass
from typing import ClassVar

from resprune.methods.base import Method
from resprune.methods.scores import attention, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


@dataclass(frozen=True)
class FasterVLM(Method):
    """What the CLS token attends to most, the mean over heads.

    Paper: FasterVLM, arXiv 2412.01818, 2024
    Source: our own; the authors' code is github.com/Theia-4869/FasterVLM
    """

    name: ClassVar[str] = "fastervlm"
    attends: ClassVar[bool] = True

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        return largest(attention(tokens, self), k)
