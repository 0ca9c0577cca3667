"""A job's results as a table for other programs: CSV, JSONL."""

import csv
import io
import json
from typing import Any

from app.failures import Refused
from app.inspect.store import Job
from app.inspect.votes import differs
from app.naming import named
from resprune.tables import APART

FORMATS = ("csv", "jsonl")
BOM = "\ufeff"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # a spreadsheet runs these
SHOWN = ("tokens_kept", "ttft_ms", "select_ms", "prefill_ms", "total_ms", "kv_bytes")


def rows(job: Job, only: str = "all", sort: str = "given") -> list[dict[str, Any]]:
    """One flat row for each of :func:`numbers`."""
    return [_row(job, number) for number in numbers(job, only, sort)]


def numbers(job: Job, only: str = "all", sort: str = "given") -> list[int]:
    """Items that have a result.

    Args:
        job: whose.
        only: ``"all"``, ``"different"`` answers or ``"errors"``.
        sort: ``"given"`` is the order of the job, ``"change"`` puts the most changed answers first.

    Raises:
        Refused: if there is no such choice.
    """
    wanted = {"all": lambda r: True, "different": differs, "errors": lambda r: "error" in r}
    if only not in wanted or sort not in ("given", "change"):
        raise Refused("Choose all, different or errors, in the order given or change.")
    chosen = [number for number, result in sorted(job.results.items()) if wanted[only](result)]
    if sort == "change":
        chosen.sort(key=lambda number: -job.results[number].get("change", -1.0))
    return chosen


def export(job: Job, format: str) -> str:
    """All results as text.

    In CSV a text that a spreadsheet would take for a formula gets an apostrophe before it, and the file begins with the
    mark by which Excel knows UTF-8; JSONL has texts as they are.

    Raises:
        Refused: if there is no such format.
    """
    if format not in FORMATS:
        raise Refused(f"There is no format {format[:20]!r}; choose one of {', '.join(FORMATS)}.")
    table = rows(job)
    if format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in table)
    file = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in table for name in row)) or ["item"]
    writer = csv.DictWriter(file, names, restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    return BOM + file.getvalue()


def _row(job: Job, number: int) -> dict[str, Any]:
    item, result = job.plan.items[number], job.results[number]
    row: dict[str, Any] = {"item": number, "image": item.name, "question": item.question, "answers": list(item.answers)}
    if "error" in result:
        return row | {"error": result["error"]}
    row |= {side: result[side]["answer"] for side in ("full", "pruned")}
    row |= {"same": not differs(result), "change": round(result["change"], 4), "vote": job.votes.get(number)}
    row |= {name: right for name, right in result.items() if name.endswith("_right")}
    row |= {f"{side}_{name}": result[side][name] for side in ("full", "pruned") for name in SHOWN}
    return row | {"model": named(job.plan.model), "method": result["pruned"]["method"]}


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    text = APART.join(value) if isinstance(value, list) else value
    if isinstance(text, str) and text.lstrip(" ").startswith(FORMULA):
        return "'" + text
    return text
