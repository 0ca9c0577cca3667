"""How many questions of a set a model answers rightly, through the same path as any other caller."""

import re
from collections.abc import Callable, Iterable
from itertools import islice

from transformers import PreTrainedModel, ProcessorMixin

from resprune.errors import InputError
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies
from resprune.settings import Settings

_ARTICLES = ("a", "an", "the", "some")


def accuracy(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    examples: Iterable[Example],
    settings: Settings | None = None,
    *,
    max_new_tokens: int = 64,
    batch: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> dict:
    """Ask every question, decode greedily, and compare with the accepted answers.

    Args:
        model: with nothing attached.
        processor: that belongs to it.
        examples: those of one picture in a row share its encoding.
        settings: of pruning; ``None`` keeps every token.
        max_new_tokens: at most, an answer.
        batch: questions that are asked at once.
        progress: called with the number of questions done.

    Returns:
        ``accuracy``, ``interval`` (95 %, Wilson, as if questions were independent), ``questions``, ``right`` and
        ``kinds``: for each kind the same.

    Raises:
        InputError: if there is no question.
    """
    right: dict[str, list[bool]] = {}
    replies = Replies(model, processor, max_new_tokens)
    done, left = 0, iter(examples)
    while some := list(islice(left, batch)):
        for example, reply in zip(some, replies.to_all([(one, settings) for one in some]), strict=True):
            accepted = {normalised(answer) for answer in example.answers}
            right.setdefault(example.kind, []).append(normalised(reply.text) in accepted)
            done += 1
            progress(done)
    if not right:
        raise InputError("The question set holds no question that can be asked.")
    total = [hit for hits in right.values() for hit in hits]
    return {**_share(total), "kinds": {kind: _share(hits) for kind, hits in sorted(right.items())}}


def normalised(answer: str) -> str:
    """Lower case, without punctuation and articles, so that "A dog." and "dog" are the same.

    The parts of a list are sorted: "A dog and a cat." is "A cat and a dog."
    """
    parts = re.split(r",|\band\b", answer.lower())
    words = ([w for w in re.sub(r"[^\w\s]", " ", part).split() if w not in _ARTICLES] for part in parts)
    return ", ".join(sorted(" ".join(part) for part in words if part))


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % unless told otherwise; (0, 1) of nothing."""
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _share(hits: list[bool]) -> dict:
    return {
        "accuracy": round(sum(hits) / len(hits), 4),
        "interval": [round(bound, 4) for bound in wilson(sum(hits), len(hits))],
        "questions": len(hits),
        "right": sum(hits),
    }
