"""Tokens chosen by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from resprune.errors import InputError, quoted
from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.options import is_whole, option, plain
from resprune.selection import Selection


def _indices(given: Any) -> tuple[int, ...]:
    """Of a list, a tuple, an array or a tensor: each once, in their order."""
    values = plain(given)
    values = [plain(value) for value in values] if isinstance(values, Sequence) and not isinstance(values, str) else 0
    if not values:
        raise InputError(f"indices are {quoted(given)}; give at least one token, as in [0, 5, 7].")
    if not all(is_whole(value) and value >= 0 for value in values):
        raise InputError(f"indices are {quoted(values)}; give whole numbers of 0 or more.")
    return tuple(dict.fromkeys(map(int, values)))


def _read(text: str) -> list[int] | str:
    words = text.split()
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else text


@dataclass(frozen=True)
class Manual(Method):
    """Just the tokens that are named, whatever the budget.

    ``Manual([0, 5, 7])`` takes a list, a tuple, an array or a tensor.

    Paper: none, a choice by hand
    """

    name: ClassVar[str] = "manual"
    nested: ClassVar[bool] = False
    by_hand: ClassVar[bool] = True

    indices: Sequence[int] = option(
        meaning="visual tokens that stay, numbers from 0 on, as in indices=0 5 7", read=_read, checked=_indices
    )

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        """The tokens that are named; ``k`` says nothing.

        Raises:
            InputError: if an index is not below N.
        """
        total, last = len(tokens), max(self.indices)
        if last >= total:
            raise InputError(
                f"indices names the visual token {last}, but the image has {total}; give 0 to {total - 1}."
            )
        chosen = torch.tensor(self.indices, device="cpu")
        others = torch.ones(total, dtype=torch.bool, device="cpu")
        others[chosen] = False
        return Selection.of(torch.cat([chosen, others.nonzero()[:, 0]]), len(chosen))
