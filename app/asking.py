"""From what a visitor gives to the updates of a comparison."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.failures import Refused
from app.methods import method_text
from app.registry import Loaded, Registry
from resprune.methods import Manual, available

if TYPE_CHECKING:  # the library is imported by the registry's thread, so that the page is up before it
    from resprune.compare import TokenChange, Update
    from resprune.images import OpenedImage
    from resprune.settings import Settings

BY_HAND = Manual.name
GONE = "The picture is gone from the server, which keeps uploads for an hour; give it again."
PACE = 0.05  # seconds between two changes of a streamed text


@dataclass(frozen=True)
class Options:
    """What a visitor may set of the pruned side; see :class:`resprune.settings.Settings`.

    Attributes:
        keep: the budget in tokens, or as people write it, see :func:`resprune.settings.parse_keep`.
        method: with its options, see :func:`resprune.methods.parse`; ``"manual"`` where there are ``indices``.
        max_new_tokens: at most, an answer.
        indices: patches chosen by hand.
    """

    keep: int | str = 128
    method: str = "resprune"
    mass: bool = False
    positions: str = "original"
    max_new_tokens: int = 64
    indices: tuple[int, ...] = ()

    @classmethod
    def of_page(cls, values: Sequence[Any], indices: tuple[int, ...] = ()) -> "Options":
        """From the values of :attr:`app.comparison.Comparison.options`; ``indices`` are patches chosen by hand."""
        keep, mass, method, positions, length, *own = values
        return cls(
            keep=int(keep),
            method=BY_HAND if indices else method_text(method, tuple(own)),
            mass=bool(mass),
            positions=positions,
            max_new_tokens=int(length),
            indices=indices,
        )

    @classmethod
    def of_stored(cls, stored: dict[str, Any]) -> "Options":
        """From what was written down, by this version or by one in which the options of methods stood beside these."""
        own = {field.name for field in fields(cls)}
        options = {name: value for name, value in stored.items() if name in own}
        if (chosen := available().get(options["method"])) and not options["indices"]:
            there = {one.name: stored[one.name] for one in chosen.options() if one.name in stored}
            options["method"] = str(chosen(**there))
        return cls(**options | {"indices": tuple(options["indices"])})

    def as_dict(self) -> dict[str, Any]:
        """What :meth:`of_stored` reads, of types that JSON knows."""
        return vars(self) | {"indices": list(self.indices)}

    def settings(self) -> "Settings":
        """The library's settings.

        Raises:
            InputError: if a value is out of its range.
        """
        from resprune.settings import Settings, parse_keep

        return Settings(
            keep=parse_keep(self.keep) if isinstance(self.keep, str) else self.keep,
            method=Manual(self.indices) if self.indices else self.method,
            mass=self.mass,
            positions=self.positions,
        )


@dataclass
class Request:
    """A question that was found in order, and the model that is lent to it.

    Attributes:
        opened: the picture as the model is given it.
        done: of each side that has come to its end, the last update.
    """

    lent: Loaded
    opened: "OpenedImage"
    question: str
    options: Options
    settings: "Settings"
    stop: threading.Event
    done: dict[str, "Update"] = field(default_factory=dict)

    def updates(self) -> Iterator["Update"]:
        """Both answers as they grow, see :func:`resprune.compare.compare`.

        Raises:
            InputError: if the model cannot take the picture and the question.
        """
        from resprune.compare import compare

        given: dict[str, Any] = {"max_new_tokens": self.options.max_new_tokens, "stop": self.stop}
        for update in paced(self.lent.run(compare, self.opened, self.question, self.settings, **given)):
            if update.answer:
                self.done[update.side] = update
            yield update

    def differences(self) -> list["TokenChange"]:
        """How pruning changed the probability of each token of the full answer; none if it was stopped."""
        from resprune.compare import differences

        full = self.done["full"]
        return self.lent.run(differences, full.encoded, list(full.token_ids), self.settings, stop=self.stop)


@contextmanager
def request(
    registry: Registry, picture: str | None, question: str, options: Options, stop: threading.Event
) -> Iterator[Request]:
    """Check what a visitor gives, then lend the model of ``registry``, once it is loaded, for the length of the block.

    Args:
        registry: whose model is lent.
        picture: path of the upload.
        question: as it was typed.
        options: of the pruned side.
        stop: see :func:`resprune.compare.compare`.

    Raises:
        InputError: if the picture, the question or an option is of no use.
        Refused: if there is no picture, or no model.
    """
    from resprune.images import checked_question, open_image

    settings = options.settings()
    try:
        content = Path(needed(picture)).read_bytes()  # bytes, so that no message names a folder of the server
    except FileNotFoundError:  # uploads are deleted after an hour, though the tab may still be open
        raise Refused(GONE) from None
    opened = open_image(content)
    question = checked_question(question)
    with registry.lend() as lent:
        yield Request(lent, opened, question, options, settings, stop)


def updates(
    registry: Registry, picture: str | None, question: str, options: Options, stop: threading.Event
) -> Iterator[tuple["Update", "OpenedImage"]]:
    """The updates of a :func:`request`, each beside the picture as the model is given it; arguments as there."""
    with request(registry, picture, question, options, stop) as asked:
        for update in asked.updates():
            yield update, asked.opened


def needed(picture: str | None) -> str:
    """The picture's path.

    Raises:
        Refused: if there is none.
    """
    if picture is None:
        raise Refused("There is no picture yet; drop one, paste one, or pick an example.")
    return picture


def paced(everything: Iterable["Update"], every: float = PACE) -> Iterator["Update"]:
    """All updates but those of a growing text that come less than ``every`` seconds after the one before."""
    latest = float("-inf")
    for update in everything:
        now = time.monotonic()
        if update.stage != "decode" or now - latest >= every:
            latest = now
            yield update
