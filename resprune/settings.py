"""What a caller may choose: how many tokens stay, by which method, with which weights."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resprune.errors import InputError

if TYPE_CHECKING:
    from resprune.methods import Method

Keep = int | float | Literal["auto"]
Box = tuple[float, float, float, float]
MANUAL = "manual"
QUOTED = 60  # characters of a wrong value that a message repeats
CHOICES = {
    "positions": ("original", "sequential"),
    "words": ("nouns", "all"),
    "pooling": ("max", "mean", "pooled"),
    "weighting": ("bounded", "power"),
    "kernel": ("raw", "centred", "normalised", "both"),
}
AUTO_LEAST, AUTO_MOST = 8, 0.5  # an automatic budget is at least so many tokens, at most that share of them


@dataclass(frozen=True)
class Settings:
    """How to prune.

    Attributes:
        keep: an ``int`` is a number of tokens an image, a ``float`` in ``(0, 1]`` a share of them, ``"auto"`` as few
            as hold the share ``energy`` of the energy.
        method: a name in :data:`resprune.methods.METHODS`, or ``"manual"``.
        alpha: how much the question weighs, ``>= 0``; 0 ignores it.
        sign: ``1`` prefers tokens relevant to the question, ``-1`` the others.
        seed: of methods that draw at random.
        mass: whether a kept token carries the weight of those it stands for (:mod:`resprune.mass`).
        alike: the least cosine, from -1 (any) to 1, of a kept token with one that it stands for.
        positions: ``"original"`` lets kept tokens keep their positions, ``"sequential"`` closes the gaps.
        energy: the share, in ``(0, 1)``, that ``keep="auto"`` is to hold.
        protect: visual tokens that always stay: indices, or boxes ``(x0, y0, x1, y1)`` in pixels of a picture of
            ``image_size``, which protect each patch that they touch.
        image_size: (width, height) of the picture to which boxes refer.
        words: which words of the question count: its ``"nouns"``, or ``"all"``.
        pooling: what a token's cosines with them come to: their ``"max"``, their ``"mean"``, or, ``"pooled"``, the
            cosine with the mean of the words.
        weighting: ``"bounded"`` weighs a token by ``1 + alpha * cosine``, ``"power"`` by ``relevance ** alpha`` as in
            the paper.
        kernel: of ResPrune's subspace: ``"raw"`` features, ``"centred"``, ``"normalised"``, or both in this order.
        indices: the visual tokens that ``method="manual"`` keeps; ``keep`` then says nothing.

    Raises:
        InputError: if a value is out of its range, or two do not go together.
    """

    keep: Keep = 128
    method: str = "resprune"
    alpha: float = 8.0
    sign: int = 1
    seed: int = 0
    mass: bool = False
    alike: float = 0.7
    positions: Literal["original", "sequential"] = "original"
    energy: float = 0.9
    protect: tuple[int | Box, ...] = ()
    image_size: tuple[int, int] | None = None
    words: Literal["nouns", "all"] = "nouns"
    pooling: Literal["max", "mean", "pooled"] = "max"
    weighting: Literal["bounded", "power"] = "bounded"
    kernel: Literal["raw", "centred", "normalised", "both"] = "normalised"
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        from resprune.methods import METHODS  # methods need Settings for their signature

        object.__setattr__(self, "keep", checked_keep(self.keep))
        object.__setattr__(self, "protect", _checked_protect(self.protect, self.image_size))
        object.__setattr__(self, "indices", _checked_indices(self.indices))
        if self.method not in (*METHODS, MANUAL):
            names = ", ".join((*METHODS, MANUAL))
            raise InputError(f"There is no method {_quoted(self.method)}; choose one of {names}.")
        if (self.method == MANUAL) != bool(self.indices):
            raise InputError(f"method={MANUAL!r} and indices belong together; give both or neither.")
        if self.keep == "auto" and self.method != MANUAL and not METHODS[self.method].energies:
            names = ", ".join(name for name, method in METHODS.items() if method.energies)
            raise InputError(f"keep='auto' needs a method that measures energy; choose one of {names}.")
        if not (_is_number(self.alpha) and self.alpha >= 0):
            raise InputError(f"alpha is {_quoted(self.alpha)}; give a number of 0 or more.")
        if self.sign not in (1, -1):
            raise InputError(f"sign is {_quoted(self.sign)}; give 1 or -1.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {_quoted(self.seed)}; give a whole number from 0 to {2**63 - 1}.")
        if not isinstance(self.mass, bool):
            raise InputError(f"mass is {_quoted(self.mass)}; give True or False.")
        if not (_is_number(self.alike) and -1 <= self.alike <= 1):
            raise InputError(f"alike is {_quoted(self.alike)}; give a cosine from -1 to 1.")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                given, choices = _quoted(getattr(self, name)), " or ".join(map(repr, known))
                raise InputError(f"{name} is {given}; give {choices}.")
        _check_method(self, METHODS.get(self.method))
        if not (_is_number(self.energy) and 0 < self.energy < 1):
            raise InputError(f"energy is {self.energy!r}; give a share between 0 and 1, such as 0.9.")

    def budget(self, candidates: int) -> int | None:
        """Number of tokens to keep of ``candidates``: at least one, at most all; ``None`` where energy decides."""
        if self.keep == "auto":
            return None
        if isinstance(self.keep, float):
            return max(1, min(candidates, round(self.keep * candidates)))
        return min(candidates, self.keep)


def _check_method(settings: Settings, method: "Method | None") -> None:
    """Refuse what a method cannot do."""
    if method and method.merges and settings.protect:
        raise InputError(f"The method {settings.method!r} merges tokens, so protect= has no place; leave it out.")
    if method and method.inside and (settings.protect or settings.mass or settings.positions == "sequential"):
        raise InputError(
            f"The tokens of {settings.method!r} leave inside the language model: mass=, protect= and "
            "positions='sequential' have no place; leave them out."
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _quoted(value: object) -> str:
    """A value in a message, cut short: it may be as long as anybody likes."""
    if isinstance(value, int) and abs(value) >= 10**QUOTED:
        return f"a number of more than {QUOTED} digits"
    text = repr(value[:QUOTED]) if isinstance(value, str) else str(value)[:QUOTED]
    return f"{text}..." if len(str(value)) > QUOTED else text


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
            f"The budget is {_quoted(keep)}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
        )
    if keep <= 0:
        raise InputError(f"The budget is {_quoted(keep)}; give at least 1 token, or a share above 0.")
    if isinstance(keep, float) and keep > 1:
        raise InputError(
            f"The budget is {keep * 100:.6g}% of the tokens; give a share of at most 100%, or a whole number of tokens."
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
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return checked_keep(int(text))
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share) or not text.isascii():
        raise InputError(
            f"The budget is {_quoted(text)}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
        )
    return checked_keep(share)
