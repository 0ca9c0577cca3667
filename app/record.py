"""A finished comparison as the page shows it, of types that JSON knows: to be stored, sent and shown again."""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from app.asking import Options, Request
from app.patch_map import by_hand, data_address, map_value
from resprune import __version__
from resprune.device import described_machine

FORMAT = 2
FORMATS = (1, FORMAT)  # that can be read: in the first, the options of methods stood beside the others
PACKAGES = ("torch", "transformers")


def record_of(request: Request, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is known of a request once both sides are done.

    Args:
        request: both sides of which have come to their end.
        known: the map that is shown, on which patches were chosen by hand.

    Returns:
        ``format``, ``made`` (UTC), ``versions``, ``machine``, ``question``, ``options``, ``picture`` (a ``data:``
        address), ``full`` and ``pruned`` (:meth:`resprune.compare.Answer.as_dict`), ``map`` (see
        :func:`app.patch_map.map_value`) and ``differences``, ``None`` until :func:`with_differences`.
    """
    done, image = request.done, request.opened.image
    drawn = map_value(image, request.question, done["pruned"], request.lent.processor)
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "resprune": __version__}
        | {name: version(name) for name in PACKAGES},
        "machine": described_machine(request.lent.device),
        "question": request.question,
        "options": request.options.as_dict(),
        "picture": data_address(image),
        "full": done["full"].answer.as_dict(),
        "pruned": done["pruned"].answer.as_dict(),
        "map": by_hand(drawn, known) if request.options.indices else drawn,
        "differences": None,
    }


def with_differences(record: dict[str, Any], changes: list[Any]) -> dict[str, Any]:
    """The record with what :meth:`app.asking.Request.differences` found."""
    return record | {"differences": [asdict(change) for change in changes]}


def options_of(record: dict[str, Any]) -> Options:
    """What the visitor had set."""
    return Options.of_stored(record["options"])


def answers_of(record: dict[str, Any]) -> tuple[Any, Any]:
    """The full and the pruned answer, with the fields of :class:`resprune.compare.Answer`."""
    return SimpleNamespace(**record["full"]), SimpleNamespace(**record["pruned"])


def shown_map(record: dict[str, Any]) -> dict[str, Any]:
    """The value of the patch map: the map and its picture."""
    return record["map"] | {"src": record["picture"]}


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of any of :data:`FORMATS`, as this version writes it."""
    return record | {"format": FORMAT, "options": options_of(record).as_dict()}
