"""What a caller may choose, whatever the method: how many tokens stay, by which method, with mass or without."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal, Self

from resprune.errors import QUOTED, InputError, quoted
from resprune.layouts import picture_size
from resprune.methods import Method, available, parse
from resprune.options import WithOptions, in_text, is_number, is_whole, option, plain

Keep = int | float | Literal["auto"]
Box = tuple[float, float, float, float]
AUTO_LEAST, AUTO_MOST = 8, 0.5  # an automatic budget is at least so many tokens, at most that share of them
POSITIONS = ("original", "sequential")
_MASS, _SEQUENTIAL = "mass", "sequential"  # what may stand behind a method's name, after a plus


@dataclass(frozen=True)
class Mass(WithOptions):
    """A kept token carries the weight of those it stands for, see :mod:`resprune.selection.mass`."""

    alike: float = option(0.7, "least cosine of a kept token with one that it stands for", least=-1, most=1)


@dataclass(frozen=True)
class Settings:
    """How to prune. The options of a method are its own, see :mod:`resprune.methods`.

    Attributes:
        keep: an ``int`` is a number of tokens an image, a ``float`` in ``(0, 1]`` a share of them, ``"auto"`` as few
            as hold the share ``energy`` of the energy; a text such as ``"128"`` or ``"22%"`` is read as on the command
            line.
        method: a :class:`resprune.methods.Method`, or its text such as ``"resprune:alpha=4"``, behind which ``+mass``,
            ``+mass:alike=0.5`` and ``+sequential`` may stand.
        mass: whether a kept token carries the weight of those it stands for: ``True``, or ``Mass(alike=0.5)``; kept as
            :class:`Mass` or ``None``.
        positions: ``"original"`` lets kept tokens keep their positions, ``"sequential"`` closes the gaps.
        energy: the share, in ``(0, 1)``, that ``keep="auto"`` is to hold.
        protect: visual tokens that always stay: indices, or boxes ``(x0, y0, x1, y1)`` in pixels of a picture of
            ``image_size``, which protect each patch that they touch; a list, or an array or tensor of either.
        image_size: (width, height) of the picture to which boxes refer.

    Numbers, arrays and tensors of NumPy and PyTorch are kept as Python's own.

    Raises:
        InputError: if a value is out of its range, or two do not go together.
    """

    keep: Keep = 128
    method: Method = "resprune"
    mass: Mass | None = None
    positions: Literal["original", "sequential"] = "original"
    energy: float = 0.9
    protect: tuple[int | Box, ...] = ()
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        size = None if self.image_size is None else picture_size(self.image_size)
        own = {"keep": checked_keep(self.keep), "protect": _checked_protect(self.protect, size), "image_size": size}
        own |= {"mass": _checked_mass(self.mass), "energy": _checked_energy(self.energy)}
        if not isinstance(self.method, Method):
            said = _read(self.method)
            if own["mass"] and said.get("mass", own["mass"]) != own["mass"]:
                raise InputError(f"mass is {own['mass']} and the method's text says {said['mass']}; say it once.")
            own |= said
        for name, value in own.items():
            object.__setattr__(self, name, value)
        if self.positions not in POSITIONS:
            choices = " or ".join(map(repr, POSITIONS))
            raise InputError(f"positions is {quoted(self.positions)}; give {choices}.")
        self._check_method()

    @classmethod
    def of(cls, **given: Any) -> Self:
        """The same from arguments of any name.

        Raises:
            InputError: as the class; and if there is no such setting, with what to write in place of an option that is
                a method's own.
        """
        names = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in names:
                raise InputError(misplaced(name, value, given.get("method", cls.method)) or _unknown(name, names))
        return cls(**given)

    def __str__(self) -> str:
        """The method as a study names it: what :attr:`method` takes."""
        mass = f"+{_MASS}{self.mass.written()}" if self.mass else ""
        return f"{self.method}{mass}{f'+{_SEQUENTIAL}' if self.positions == _SEQUENTIAL else ''}"

    @property
    def boxes(self) -> list[Box]:
        """Those of what is protected."""
        return [entry for entry in self.protect if not isinstance(entry, int)]

    def budget(self, candidates: int) -> int | None:
        """Number of tokens to keep of ``candidates``: at least one, at most all; ``None`` where energy decides."""
        if self.keep == "auto":
            return None
        if isinstance(self.keep, float):
            return max(1, min(candidates, round(self.keep * candidates)))
        return min(candidates, self.keep)

    def _check_method(self) -> None:
        """Refuse what a method cannot do."""
        method = self.method
        if self.keep == "auto" and not (method.energies or method.by_hand):
            names = ", ".join(name for name, other in available().items() if other.energies)
            raise InputError(f"keep='auto' needs a method that measures energy; choose one of {names}.")
        if method.merges and self.protect:
            raise InputError(f"The method {method.name!r} merges tokens, so protect= has no place; leave it out.")
        if method.inside and (self.protect or self.mass or self.positions == "sequential"):
            raise InputError(
                f"The tokens of {method.name!r} leave inside the language model: mass=, protect= and "
                "positions='sequential' have no place; leave them out."
            )


def _read(text: Any) -> dict[str, Any]:
    """What a method's text says: itself, and what stands behind it after a plus."""
    if not isinstance(text, str):
        return {"method": parse(text)}
    name, *behind = text.split("+")
    said: dict[str, Any] = {"method": parse(name)}
    for part in behind:
        kind, *given = (piece.strip() for piece in part.split(":"))
        if kind == _MASS:
            said["mass"] = Mass.of_texts(given, f"'+{_MASS}'")
        elif kind == _SEQUENTIAL and not given:
            said["positions"] = _SEQUENTIAL
        else:
            raise InputError(f"{quoted(text)} has {quoted('+' + part)}; give +mass, +mass:alike=0.5 or +sequential.")
    return said


def _unknown(name: str, names: Sequence[str]) -> str:
    return f"There is no setting {quoted(name)}; choose among {', '.join(names)}."


def misplaced(name: str, value: Any, method: Any) -> str | None:
    """Where an option belongs that was given as a setting; ``None`` where nobody has it."""
    text = in_text(value)[:QUOTED]
    if name in _names(Mass):
        return f"{name} is an option of mass; write mass=Mass({name}={text}), or '+mass:{name}={text}' behind a method."
    asked = method.name if isinstance(method, Method) else str(method).partition("+")[0].partition(":")[0]
    methods = available()
    # The one that was asked for where it has such an option, else the first that has.
    for kind in (methods.get(asked), *methods.values()):
        if kind and name in _names(kind):
            return (
                f"{name} is an option of the method; write method={kind.__name__}({name}={quoted(value)}), or "
                f"method='{kind.name}:{name}={text}'."
            )
    return None


def _names(kind: type[WithOptions]) -> set[str]:
    return {one.name for one in kind.options()}


def _checked_energy(energy: Any) -> float:
    share = plain(energy)
    if not (is_number(share) and 0 < share < 1):
        raise InputError(f"energy is {quoted(energy)}; give a share between 0 and 1, as a number such as 0.9.")
    return float(share)


def _checked_mass(mass: Any) -> Mass | None:
    mass = plain(mass)
    if isinstance(mass, Mass):
        return mass
    if mass is None or isinstance(mass, bool):
        return Mass() if mass else None
    raise InputError(f"mass is {quoted(mass)}; give True, False or Mass(alike=0.7).")


def _checked_protect(protect: Any, image_size: tuple[int, int] | None) -> tuple[int | Box, ...]:
    """Indices, each once, then boxes, of a list, an array or a tensor of either."""
    given = plain(protect)
    if given is None:
        return ()
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise InputError(f"protect is {quoted(protect)}; give a list of tokens or boxes, as in [0, 5].")
    entries = [plain(entry) for entry in given]
    boxes = [_checked_box(entry, image_size) for entry in entries if isinstance(entry, Sequence)]
    indices = [entry for entry in entries if not isinstance(entry, Sequence)]
    if not all(is_whole(entry) and entry >= 0 for entry in indices):
        hint = "; a box stands in a list, as in [(0, 0, 20, 20)]" if len(indices) == 4 else ""
        raise InputError(f"protect has the indices {quoted(indices)}; give whole numbers of 0 or more{hint}.")
    return (*dict.fromkeys(map(int, indices)), *boxes)


def _checked_box(entry: Sequence[Any], image_size: tuple[int, int] | None) -> Box:
    box = entry if isinstance(entry, str) else tuple(plain(edge) for edge in entry)
    if len(box) != 4 or not all(map(is_number, box)) or not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(f"protect has the box {quoted(box)}; give (x0, y0, x1, y1) with x0 < x1 and y0 < y1.")
    if image_size is None:
        raise InputError("protect has boxes; give image_size, the (width, height) of the picture, as well.")
    width, height = image_size
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        raise InputError(
            f"protect has the box {quoted(box)}, which lies outside the picture of {width} x {height} pixels; give one "
            "inside."
        )
    return box


def checked_keep(keep: Keep | str) -> Keep:
    """``keep`` itself where it is in range; a text is read by :func:`parse_keep`.

    Raises:
        InputError: if it is no number, not positive, or a share above 1.
    """
    if isinstance(keep, str):
        return parse_keep(keep)
    given, keep = keep, plain(keep)
    if not is_number(keep):
        kind = "" if given is None or isinstance(given, Real) else f" ({type(given).__name__})"
        raise InputError(
            f"The budget is {quoted(given)}{kind}; give a number of tokens such as 128, a share such as 22% or 0.22, "
            "or auto."
        )
    if keep <= 0:
        raise InputError(f"The budget is {quoted(keep)}; give at least 1 token, or a share above 0.")
    if not is_whole(keep) and keep > 1:
        raise InputError(
            f"The budget is {keep * 100:.6g}% of the tokens; give a share of at most 100%, or a number of tokens "
            "without a point."
        )
    return int(keep) if is_whole(keep) else float(keep)


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
            f"The budget is {quoted(text)}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
        )
    return checked_keep(share)
