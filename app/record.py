"""A finished comparison as the page shows it, of types that JSON knows: to be stored, sent and shown again."""

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from app.asking import Options, Request
from app.patch_map import by_hand, data_address, map_value

FORMAT = 1
PACKAGES = ("torch", "transformers")


def record_of(request: Request, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is known of a request once both sides are done.

    Args:
        request: both sides of which have come to their end.
        known: the map that is shown, on which patches were chosen by hand.

    Returns:
        ``format``, ``made`` (UTC), ``versions``, ``machine``, ``question``, ``options``, ``picture`` (a ``data:``
        address), ``full`` and ``pruned`` (:meth:`resprune.answers.Answer.as_dict`), ``map`` (see
        :func:`app.patch_map.map_value`) and ``differences``, ``None`` until :func:`with_differences`.
    """
    import resprune  # not at the top: the page is up before the library is imported

    done, image = request.done, request.opened.image
    drawn = map_value(image, request.question, done["pruned"], request.lent.processor)
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "resprune": resprune.__version__}
        | {name: version(name) for name in PACKAGES},
        "machine": machine(request.lent.device),
        "question": request.question,
        "options": asdict(request.options) | {"indices": list(request.options.indices)},
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
    return Options(**record["options"] | {"indices": tuple(record["options"]["indices"])})


def answers_of(record: dict[str, Any]) -> tuple[Any, Any]:
    """The full and the pruned answer, with the fields of :class:`resprune.answers.Answer`."""
    return SimpleNamespace(**record["full"]), SimpleNamespace(**record["pruned"])


def shown_map(record: dict[str, Any]) -> dict[str, Any]:
    """The value of the patch map: the map and its picture."""
    return record["map"] | {"src": record["picture"]}


def machine(device: str) -> str:
    """What a model ran on, in words."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    from resprune import cpu

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu.name()}, {cores} cores"
