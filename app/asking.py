"""From what a visitor gives to the updates of a comparison."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.failures import Refused
from app.registry import Registry

if TYPE_CHECKING:  # the library is imported by the registry's thread, so that the page is up before it
    from resprune.compare import Update
    from resprune.images import OpenedImage

PACE = 0.05  # seconds between two changes of a streamed text


def updates(
    registry: Registry, picture: str | None, question: str, keep: int | str, stop: threading.Event
) -> Iterator[tuple["Update", "OpenedImage"]]:
    """Compare both sides on the model of ``registry``, once it is loaded.

    Args:
        registry: whose model is lent while the iterator lives.
        picture: path of the upload.
        question: as it was typed.
        keep: the budget in tokens, or as people write it, see :func:`resprune.settings.parse_keep`.
        stop: see :func:`resprune.compare.compare`.

    Raises:
        InputError: if the picture, the question or the budget is of no use.
        Refused: if there is no picture, or no model.
    """
    from resprune.compare import compare
    from resprune.images import checked_question, open_image
    from resprune.settings import Settings, parse_keep

    settings = Settings(keep=parse_keep(keep) if isinstance(keep, str) else keep)
    opened = open_image(Path(needed(picture)).read_bytes())  # bytes, so that no message names a folder of the server
    question = checked_question(question)
    with registry.lend() as lent:
        for update in paced(compare(lent.model, lent.processor, opened, question, settings, stop=stop)):
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
