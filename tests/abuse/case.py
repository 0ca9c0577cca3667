"""What a case of the abuse set is: one hostile or odd input at one edge, and what it must get."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ANSWER = "an answer"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        edge: where it comes in, a heading of the table.
        name: what it is, in words; unique.
        give: makes the input.
        gets: the message that it must get, word for word, or :data:`ANSWER`, with what the answer notes after a colon.
    """

    edge: str
    name: str
    give: Callable[[], Any]
    gets: str = ANSWER
