"""Options that a frozen dataclass declares once: what each means, and which values it takes.

The dataclass checks itself by that when it is made. The command line, the page and texts such as ``resprune:alpha=4``
are read by it too, so that no range and no explanation is written twice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Self

from resprune.errors import InputError, quoted

_DECLARED = "option"  # key of a field's metadata


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: of the field.
        default: its value where none is given, of the type that every value has; ``None`` where one must be given.
        meaning: one line for people.
        least, most: the range of a number; ``None`` where it is open.
        choices: all values there are; empty where a range says it.
        usual: the range of a number in which people try values, for a slider; ``None`` where there is none.
        read: from text to a value.
        checked: from a value to the one that is kept.
    """

    name: str
    default: Any
    meaning: str
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    usual: tuple[float, float] | None = None
    read: Callable[[str], Any] | None = None
    checked: Callable[[Any], Any] | None = None

    def of_text(self, text: str) -> Any:
        """The value that a text stands for, not checked yet; the text itself where it stands for none."""
        if self.read:
            return self.read(text)
        if isinstance(self.default, str):
            return text
        try:
            return int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            return text

    def check(self, value: Any) -> Any:
        """The value as it is kept.

        Raises:
            InputError: if the option does not take it.
        """
        if self.checked:
            return self.checked(value)
        value = plain(value)
        if self.choices:
            if not isinstance(value, str | Real) or isinstance(value, bool) or value not in self.choices:
                raise InputError(f"{self.name} is {quoted(value)}; give {self.range}.")
            return self.choices[self.choices.index(value)]
        whole = isinstance(self.default, int)
        if not (is_whole(value) if whole else is_number(value)) or not self._in_range(value):
            raise InputError(f"{self.name} is {quoted(value)}; give {self.range}.")
        return int(value) if whole else float(value)

    @property
    def range(self) -> str:
        """What it takes, in words, such as "a number of 0 or more"."""
        if self.checked:
            return self.meaning
        if self.choices:
            return " or ".join(map(repr, self.choices))
        number = "a whole number" if isinstance(self.default, int) else "a number"
        if self.least is None:
            return number
        return f"{number} of {self.least:g} or more" if self.most is None else f"{number} {self._between}"

    @property
    def _between(self) -> str:
        return f"from {in_text(self.least)} to {in_text(self.most)}"

    def _in_range(self, value: Any) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def option(default: Any = MISSING, meaning: str = "", **declared: Any) -> Any:
    """A field of a :class:`WithOptions`; ``declared`` is what else :class:`Option` has."""
    return field(default=default, metadata={_DECLARED: {"meaning": meaning} | declared})


@dataclass(frozen=True)
class WithOptions:
    """A frozen dataclass whose fields are options, checked when it is made.

    Raises:
        InputError: if a value is out of its range.
    """

    def __post_init__(self) -> None:
        for one in self.options():
            object.__setattr__(self, one.name, one.check(getattr(self, one.name)))

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """All options, in their order."""
        return tuple(
            Option(f.name, None if f.default is MISSING else f.default, **f.metadata[_DECLARED])
            for f in fields(cls)
            if _DECLARED in f.metadata
        )

    @classmethod
    def of_texts(cls, given: Iterable[str], owner: str) -> Self:
        """Made from texts such as ``alpha=4``.

        Args:
            given: one text an option.
            owner: whose options they are, as a message calls it.

        Raises:
            InputError: if there is no such option, one is missing or given twice, or a value is out of its range.
        """
        known, values = {one.name: one for one in cls.options()}, {}
        for text in given:
            name, equals, value = text.partition("=")
            if name not in known:
                there = f"its options are {', '.join(known)}" if known else "it has none"
                raise InputError(f"{owner} has no option {quoted(name)}; {there}.")
            if not equals or name in values:
                raise InputError(f"{owner} is given {quoted(text)}; give each option once, as in {name}=VALUE.")
            values[name] = known[name].of_text(value.strip())
        if missing := [name for name, one in known.items() if one.default is None and name not in values]:
            raise InputError(f"{owner} needs {missing[0]}: {known[missing[0]].meaning}.")
        return cls(**values)

    def written(self) -> str:
        """The options that differ from their defaults, as ``:alpha=4``, which :meth:`of_texts` reads."""
        return "".join(
            f":{one.name}={in_text(getattr(self, one.name))}"
            for one in self.options()
            if getattr(self, one.name) != one.default
        )


def plain(value: Any) -> Any:
    """An array, a tensor or a number of NumPy or PyTorch as Python has it, a list or a number; others as they are."""
    return value.tolist() if hasattr(value, "tolist") else value


def is_number(value: object) -> bool:
    """Whether it is a finite number, of Python or of NumPy."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or of NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def in_text(value: Any) -> str:
    """A value as a text of options has it."""
    value = plain(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
