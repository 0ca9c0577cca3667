"""A report as JSON, written and read."""

import base64
import hashlib
import json
from typing import Any

from pydantic import ValidationError

from app.failures import Refused
from app.naming import named
from app.record import FORMAT, FORMATS, options_of, upgraded
from app.report.schema import checked

MOST_BYTES = 10_000_000
VERSION, SUM, RECORD = "resprune_report", "sha256", "record"
FOREIGN = "This is no report of ResPrune; give the JSON file that the page saved."
CHANGED = "This report was changed or damaged after it was saved; save it again and retry."


def to_json(record: dict[str, Any]) -> str:
    """The record with the version of its format and its checksum; a model's folder is left out."""
    record = without_folders(record)
    return json.dumps({VERSION: FORMAT, SUM: _sum(record), RECORD: record}, allow_nan=False) + "\n"


def from_json(content: bytes) -> dict[str, Any]:
    """A record out of a file that anybody may have written.

    The checksum tells damage and careless changes. It is no signature: who changes a report and the sum with it is not
    found out, and so all else is checked as well, as if the sum were not there.

    Raises:
        Refused: with a sentence for the user, if it is no report, of another version, changed, or cannot be shown.
    """
    if len(content) > MOST_BYTES:
        raise Refused(
            f"This file is larger than any report, {MOST_BYTES // 10**6} MB; give the one that the page saved."
        )
    try:
        report = json.loads(content.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(FOREIGN) from None
    if not isinstance(report, dict) or VERSION not in report:
        raise Refused(FOREIGN)
    if report[VERSION] not in FORMATS or isinstance(report[VERSION], bool):
        raise Refused(
            f"This report has the format {json.dumps(report[VERSION])[:20]}, and this page reads the format {FORMAT}; "
            "open it with the version of ResPrune that saved it."
        )
    if set(report) != {VERSION, SUM, RECORD} or report[SUM] != _sum(report[RECORD]):
        raise Refused(CHANGED)
    try:
        record = checked(json.dumps(report[RECORD]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:4]) or "record"
        raise Refused(f"This report cannot be shown: {where}: {first['msg']}.") from None
    return _sound(record)


def picture_of(record: dict[str, Any]) -> Any:
    """The picture, RGB.

    Raises:
        InputError: if it is damaged.
    """
    from resprune.images import open_image

    return open_image(base64.b64decode(record["picture"].partition(",")[2])).image


def without_folders(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the names of models alone, where they were loaded from folders."""
    return record | {side: record[side] | {"model": named(record[side]["model"])} for side in ("full", "pruned")}


def _sound(record: dict[str, Any]) -> dict[str, Any]:
    """The record as this version writes it, after a check of what only the library can: the picture, the settings."""
    try:
        picture_of(record)
        options_of(record).settings()
        return upgraded(record)
    except ValueError as error:  # of base64 or of the library
        raise Refused(f"This report cannot be shown: {error}") from None


def _sum(record: Any) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
