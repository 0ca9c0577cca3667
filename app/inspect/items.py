"""What a job asks: rows of a table, or every picture with one question. Bad rows are named, and the rest is used."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from app.failures import Refused
from app.inspect.pool import PICTURES, TABLES, Limits, Pool, Problem
from resprune.tables import FIELDS, answers_of, field_of, fields_of

NEEDED = FIELDS[:2]
SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line for Excel, which is none of the table


@dataclass(frozen=True)
class Item:
    """One question about one picture.

    Attributes:
        name: of the picture, as the user knows it.
        question: checked, see :func:`resprune.images.checked_question`.
        answers: those that are right, where the table says so.
    """

    name: str
    question: str
    answers: tuple[str, ...] = ()


def items(pool: Pool, question: str, limits: Limits) -> tuple[list[Item], list[Problem]]:
    """The rows of all tables; without a table, each picture with ``question``.

    Raises:
        Refused: if there is nothing to ask.
        InputError: if there is no table, and the question is of no use.
    """
    problems = list(pool.problems)
    tables = pool.of_kind(TABLES)
    if tables:
        found = [item for table in tables for item in _rows(pool, table, problems)]
    else:
        found = _all_pictures(pool, question)
    if len(found) > limits.rows:
        problems.append(Problem("The job", f"has {len(found):,} questions; only the first {limits.rows:,} are used"))
    if not found:
        reasons = "; ".join(str(problem) for problem in problems[:3])
        hint = reasons or "upload pictures, a zip of them, or a table with the columns image and question"
        raise Refused(f"There is nothing to ask: {hint}.")
    return found[: limits.rows], problems


def _all_pictures(pool: Pool, question: str) -> list[Item]:
    from resprune.images import checked_question

    pictures = pool.of_kind(PICTURES)
    if not pictures:
        return []
    question = checked_question(question)
    return [Item(name, question) for name in pictures]


def _rows(pool: Pool, table: str, problems: list[Problem]) -> Iterator[Item]:
    """The good rows of a table; the others are added to ``problems``, by line and field."""
    try:
        text = pool.files[table]().decode("utf-8-sig")
    except Refused as refusal:
        problems.append(Problem(table, str(refusal)))
        return
    except UnicodeDecodeError:
        problems.append(Problem(table, "is not UTF-8 text; save it as UTF-8"))
        return
    lines = _json_lines(text) if table.lower().endswith(".jsonl") else _csv_lines(text)
    columns: dict[str, None] = {}
    for line, row in lines:
        where = f"{table}, line {line}"
        if isinstance(row, str):
            problems.append(Problem(where, row))
            continue
        columns |= dict.fromkeys(map(field_of, row))
        try:
            yield _item(pool, PurePosixPath(table).parent, fields_of(row))
        except ValueError as error:
            problems.append(Problem(where, str(error)))
    others = [name for name in columns if name and name not in FIELDS]
    if others and "answers" not in columns:
        said = ", ".join(repr(name[:40]) for name in others[:5])
        problems.append(
            Problem(table, f"has no column answers, so that nothing can be right or wrong; not used: {said}")
        )


def _csv_lines(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """``(line, row)``, or ``(line, what is wrong with it)``. The header says whether , ; or a tabulator separates."""
    head, _, rest = text.partition("\n")
    above = 0  # lines that the reader does not see
    if told := SEPARATOR.fullmatch(head):
        delimiter, text, above = told[1], rest, 1
    else:
        delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        reader.fieldnames = [(name or "").strip() for name in reader.fieldnames or []]
        missing = [name for name in NEEDED if name not in map(field_of, reader.fieldnames)]
        if missing:
            words = f"there is no column {' and no column '.join(missing)}; name the columns image, question, answers"
            yield 1 + above, words
            return
        for row in reader:
            yield reader.line_num + above, "it has more fields than the header" if None in row else row
    except csv.Error as error:
        yield reader.reader.line_num + above, f"the table breaks off here ({error})"


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield number, "it is no JSON"
            continue
        yield number, row if isinstance(row, dict) else 'it is no JSON object such as {"image": ..., "question": ...}'


def _item(pool: Pool, folder: PurePosixPath, row: dict[str, Any]) -> Item:
    """A row as an item.

    Raises:
        ValueError: a sentence that names the field.
    """
    from resprune.images import checked_question

    image, question = (row.get(name) for name in NEEDED)
    if not isinstance(image, str) or not image.strip():
        raise ValueError("field image: it is empty" if image in (None, "") else "field image: it is no text")
    try:
        name = pool.find(image, str(folder))
    except ValueError as error:
        raise ValueError(f"field image: {error}") from None
    if name is None or PurePosixPath(name).suffix.lower() not in PICTURES:
        raise ValueError(f"field image: there is no picture {image[:100]!r}")
    if not isinstance(question, str):
        raise ValueError("field question: it is empty" if question is None else "field question: it is no text")
    try:
        question = checked_question(question)
    except ValueError as error:
        raise ValueError(f"field question: {error}") from None
    try:
        return Item(name, question, answers_of(row.get("answers")))
    except ValueError as error:
        raise ValueError(f"field answers: {error}") from None
