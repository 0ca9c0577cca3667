"""From what a visitor gives to the updates of a comparison."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.failures import Refused
from app.registry import Registry

if TYPE_CHECKING:  # the library is imported by the registry's thread, so that the page is up before it
    from resprune.compare import Update
    from resprune.images import OpenedImage
    from resprune.settings import Settings

PACE = 0.05  # seconds between two changes of a streamed text


@dataclass(frozen=True)
class Options:
    """What a visitor may set of the pruned side; see :class:`resprune.settings.Settings`.

    Attributes:
        keep: the budget in tokens, or as people write it, see :func:`resprune.settings.parse_keep`.
        max_new_tokens: at most, an answer.
    """

    keep: int | str = 128
    method: str = "resprune"
    mass: bool = False
    alpha: float = 1.0
    sign: int = 1
    positions: str = "original"
    seed: int = 0
    max_new_tokens: int = 64
    indices: tuple[int, ...] = ()

    def settings(self) -> "Settings":
        """The library's settings.

        Raises:
            InputError: if a value is out of its range.
        """
        from resprune.settings import Settings, parse_keep

        given = {name: value for name, value in vars(self).items() if name != "max_new_tokens"}
        return Settings(**given | {"keep": parse_keep(self.keep) if isinstance(self.keep, str) else self.keep})


def updates(
    registry: Registry, picture: str | None, question: str, options: Options, stop: threading.Event
) -> Iterator[tuple["Update", "OpenedImage"]]:
    """Compare both sides on the model of ``registry``, once it is loaded.

    Args:
        registry: whose model is lent while the iterator lives.
        picture: path of the upload.
        question: as it was typed.
        options: of the pruned side.
        stop: see :func:`resprune.compare.compare`.

    Raises:
        InputError: if the picture, the question or an option is of no use.
        Refused: if there is no picture, or no model.
    """
    from resprune.compare import compare
    from resprune.images import checked_question, open_image

    settings = options.settings()
    opened = open_image(Path(needed(picture)).read_bytes())  # bytes, so that no message names a folder of the server
    question = checked_question(question)
    with registry.lend() as lent:
        comparison = compare(
            lent.model,
            lent.processor,
            opened,
            question,
            settings,
            max_new_tokens=options.max_new_tokens,
            stop=stop,
        )
        for update in paced(comparison):
            yield update, opened


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
