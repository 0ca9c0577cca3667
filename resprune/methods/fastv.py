"""FastV: visual tokens leave inside the language model."""

from dataclasses import dataclass
from typing import ClassVar

from resprune.errors import InputError
from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


@dataclass(frozen=True)
class FastV(Method):
    """What the last token attends to in the second layer; the other tokens are masked, so no time is saved.

    :mod:`resprune.seam` does it, by the attribute ``inside``.

    Paper: FastV, arXiv 2403.06764, 2024
    Source: our own; the authors' code is github.com/pkunlp-icler/FastV
    """

    name: ClassVar[str] = "fastv"
    inside: ClassVar[bool] = True

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        """Refused: there is nothing to choose by before the language model has read the tokens."""
        raise InputError(f"The method {self.name!r} chooses inside a language model; attach it to one.")
