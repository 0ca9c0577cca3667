"""The fields of a question as people's tables and programs name them, the same wherever a table is read."""

from collections.abc import Mapping
from typing import Any

from resprune.errors import InputError

FIELDS = ("image", "question", "answers", "kind")
ALSO = {"answer": "answers"}
APART = "|"  # between the right answers of one text
_EMPTY = (None, "", [])


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row by the names of :data:`FIELDS`, whether they are written large or small, and ``answer`` for ``answers``.

    Of two that mean the same the one that says something counts, and of two such the one in the very words.
    """
    found: dict[str, Any] = {}
    for key, value in row.items():
        name = field_of(key)
        if found.get(name) in _EMPTY or (key == name and value not in _EMPTY):
            found[name] = value
    return found


def field_of(name: Any) -> str:
    """The field that a column is meant to be; its own name, if it is none of them."""
    name = str(name).strip().lower()
    return ALSO.get(name, name)


def answers_of(value: Any) -> tuple[str, ...]:
    """The right answers as a tuple: of a text, which may hold several apart by :data:`APART`, or of a list of texts.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(value, str):
        value = value.split(APART)
    if not isinstance(value, list | None) or not all(isinstance(answer, str) for answer in value or []):
        raise InputError("it is neither a text nor a list of texts")
    return tuple(answer.strip() for answer in value or [] if answer.strip())
