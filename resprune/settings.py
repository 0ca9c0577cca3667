"""What a caller may choose: how many tokens stay, by which method, with which weights."""

import math
import re
from dataclasses import dataclass

from resprune.errors import InputError

Keep = int | float


@dataclass(frozen=True)
class Settings:
    """How to prune.

    Attributes:
        keep: an ``int`` is a number of tokens an image, a ``float`` in ``(0, 1]`` a share of them.
        method: a name in :data:`resprune.methods.METHODS`.
        alpha: exponent of relevance, ``>= 0``; 0 ignores the question.
        sign: ``1`` prefers tokens relevant to the question, ``-1`` the others.
        seed: of methods that draw at random.

    Raises:
        InputError: if a value is out of its range.
    """

    keep: Keep = 128
    method: str = "resprune"
    alpha: float = 1.0
    sign: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        from resprune.methods import METHODS  # methods need Settings for their signature

        object.__setattr__(self, "keep", checked_keep(self.keep))
        if self.method not in METHODS:
            raise InputError(f"There is no method {self.method!r}; choose one of {', '.join(METHODS)}.")
        if not (isinstance(self.alpha, int | float) and math.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(f"alpha is {self.alpha!r}; give a number of 0 or more.")
        if self.sign not in (1, -1):
            raise InputError(f"sign is {self.sign!r}; give 1 or -1.")

    def budget(self, candidates: int) -> int:
        """Number of tokens to keep of ``candidates``: at least one, at most all."""
        if isinstance(self.keep, float):
            return max(1, min(candidates, round(self.keep * candidates)))
        return min(candidates, self.keep)


def checked_keep(keep: Keep) -> Keep:
    """``keep`` itself where it is in range.

    Raises:
        InputError: if it is no number, not positive, or a share above 1.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not math.isfinite(keep):
        raise InputError(
            f"The budget is {keep!r}; give a number of tokens such as 128, or a share such as 22% or 0.22."
        )
    if keep <= 0:
        raise InputError(f"The budget is {keep}; give at least 1 token, or a share above 0.")
    if isinstance(keep, float) and keep > 1:
        raise InputError(
            f"The budget is {keep:.0%} of the tokens; give a share of at most 100%, or a whole number of tokens."
        )
    return keep


def parse_keep(text: str) -> Keep:
    """Read a budget as people write it: ``128`` (tokens), ``22%`` or ``0.22`` (share).

    Raises:
        InputError: if the text is none of these, or out of range.
    """
    text = text.strip()
    if re.fullmatch(r"[+-]?\d+", text):
        return checked_keep(int(text))
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise InputError(
            f"The budget is {text!r}; give a number of tokens such as 128, or a share such as 22% or 0.22."
        )
    return checked_keep(share)
