"""What a caller may choose: how many tokens stay, by which method, with which weights."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resprune.errors import InputError

Keep = int | float | Literal["auto"]
Box = tuple[float, float, float, float]
MANUAL = "manual"
AUTO_LEAST, AUTO_MOST = 8, 0.5  # an automatic budget is at least so many tokens, at most that share of them


@dataclass(frozen=True)
class Settings:
    """How to prune.

    Attributes:
        keep: an ``int`` is a number of tokens an image, a ``float`` in ``(0, 1]`` a share of them, ``"auto"`` as few
            as hold the share ``energy`` of the energy.
        method: a name in :data:`resprune.methods.METHODS`, or ``"manual"``.
        alpha: exponent of relevance, ``>= 0``; 0 ignores the question.
        sign: ``1`` prefers tokens relevant to the question, ``-1`` the others.
        seed: of methods that draw at random.
        mass: whether a kept token carries the weight of those it stands for (:mod:`resprune.mass`).
        positions: ``"original"`` lets kept tokens keep their positions, ``"sequential"`` closes the gaps.
        energy: the share, in ``(0, 1)``, that ``keep="auto"`` is to hold.
        protect: visual tokens that always stay: indices, or boxes ``(x0, y0, x1, y1)`` in pixels of a picture of
            ``image_size``, which protect each patch that they touch.
        image_size: (width, height) of the picture to which boxes refer.
        indices: the visual tokens that ``method="manual"`` keeps; ``keep`` then says nothing.

    Raises:
        InputError: if a value is out of its range, or two do not go together.
    """

    keep: Keep = 128
    method: str = "resprune"
    alpha: float = 1.0
    sign: int = 1
    seed: int = 0
    mass: bool = False
    positions: Literal["original", "sequential"] = "original"
    energy: float = 0.9
    protect: tuple[int | Box, ...] = ()
    image_size: tuple[int, int] | None = None
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        from resprune.methods import METHODS  # methods need Settings for their signature

        object.__setattr__(self, "keep", checked_keep(self.keep))
        object.__setattr__(self, "protect", _checked_protect(self.protect, self.image_size))
        object.__setattr__(self, "indices", _checked_indices(self.indices))
        if self.method not in (*METHODS, MANUAL):
            names = ", ".join((*METHODS, MANUAL))
            raise InputError(f"There is no method {self.method!r}; choose one of {names}.")
        if (self.method == MANUAL) != bool(self.indices):
            raise InputError(f"method={MANUAL!r} and indices belong together; give both or neither.")
        if self.keep == "auto" and self.method != MANUAL and not METHODS[self.method].energies:
            names = ", ".join(name for name, method in METHODS.items() if method.energies)
            raise InputError(f"keep='auto' needs a method that measures energy; choose one of {names}.")
        if not (_is_number(self.alpha) and self.alpha >= 0):
            raise InputError(f"alpha is {self.alpha!r}; give a number of 0 or more.")
        if self.sign not in (1, -1):
            raise InputError(f"sign is {self.sign!r}; give 1 or -1.")
        if not isinstance(self.mass, bool):
            raise InputError(f"mass is {self.mass!r}; give True or False.")
        if self.positions not in ("original", "sequential"):
            raise InputError(f"positions is {self.positions!r}; give 'original' or 'sequential'.")
        if not (_is_number(self.energy) and 0 < self.energy < 1):
            raise InputError(f"energy is {self.energy!r}; give a share between 0 and 1, such as 0.9.")

    def budget(self, candidates: int) -> int | None:
        """Number of tokens to keep of ``candidates``: at least one, at most all; ``None`` where energy decides."""
        if self.keep == "auto":
            return None
        if isinstance(self.keep, float):
            return max(1, min(candidates, round(self.keep * candidates)))
        return min(candidates, self.keep)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_indices(indices: Sequence[int]) -> tuple[int, ...]:
    indices = tuple(indices)
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in indices):
        raise InputError(f"indices are {indices!r}; give whole numbers of 0 or more.")
    return tuple(dict.fromkeys(indices))


def _checked_protect(protect: Sequence[int | Box], image_size: tuple[int, int] | None) -> tuple[int | Box, ...]:
    boxes = [tuple(entry) for entry in protect if isinstance(entry, Sequence)]
    for box in boxes:
        if len(box) != 4 or not all(map(_is_number, box)) or not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(f"protect has the box {box!r}; give (x0, y0, x1, y1) with x0 < x1 and y0 < y1.")
    if boxes and image_size is None:
        raise InputError("protect has boxes; give image_size, the (width, height) of the picture, as well.")
    return (*_checked_indices([entry for entry in protect if not isinstance(entry, Sequence)]), *boxes)


def checked_keep(keep: Keep) -> Keep:
    """``keep`` itself where it is in range.

    Raises:
        InputError: if it is no number, not positive, or a share above 1.
    """
    if keep == "auto":
        return keep
    if not _is_number(keep):
        raise InputError(
            f"The budget is {keep!r}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
        )
    if keep <= 0:
        raise InputError(f"The budget is {keep}; give at least 1 token, or a share above 0.")
    if isinstance(keep, float) and keep > 1:
        raise InputError(
            f"The budget is {keep:.0%} of the tokens; give a share of at most 100%, or a whole number of tokens."
        )
    return keep


def parse_keep(text: str) -> Keep:
    """Read a budget as people write it: ``128`` (tokens), ``22%`` or ``0.22`` (share), or ``auto``.

    Raises:
        InputError: if the text is none of these, or out of range.
    """
    text = text.strip()
    if text == "auto":
        return text
    if re.fullmatch(r"[+-]?\d+", text):
        return checked_keep(int(text))
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise InputError(
            f"The budget is {text!r}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
        )
    return checked_keep(share)
