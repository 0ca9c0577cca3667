"""An answer that survives the death of the replica that gives it."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any


class Diverged(Exception):
    """A second attempt said something else than the first one, part of whose answer was sent already.

    ``retried`` tells whether it was another replica's.
    """

    def __init__(self, retried: int) -> None:
        super().__init__()
        self.retried = retried


async def survived(
    begin: Callable[[], AsyncIterator[dict[str, Any]]], lost: tuple[type[Exception], ...], streamed: bool = True
) -> AsyncIterator[dict[str, Any]]:
    """The pieces of an answer, begun again at most once.

    Answers are greedy and all replicas alike, so that the second attempt says the same: what was sent is not sent
    again, and should it differ after all, that is an error rather than a mixture of two answers.

    Args:
        begin: starts the answer, see :meth:`resprune.serve.replica.Replica.answer`.
        lost: errors that say that the replica is gone.
        streamed: whether whoever asked is sent each piece; else the whole answer counts alone, and cannot differ.

    Yields:
        What ``begin`` does, with ``new``, the text that no earlier piece had, in each; ``retried``, 0 or 1, at the end.

    Raises:
        Diverged: if the second attempt differs.
        Exception: what ``lost`` names, the second time.
    """
    sent = ""
    for retried in (0, 1):
        try:
            async with aclosing(begin()) as pieces:
                async for piece in pieces:
                    text, end = piece.get("text", ""), "finish_reason" in piece
                    if streamed and end and not text.startswith(sent):
                        raise Diverged(retried)
                    # Where a tokenizer changes what it said a token before, nothing is sent until that is settled.
                    new = text[len(sent) :] if text.startswith(sent) else ""
                    sent += new
                    if new or end or "refused" in piece:
                        yield piece | {"new": new} | ({"retried": retried} if end else {})
                return
        except lost:
            if retried:
                raise
