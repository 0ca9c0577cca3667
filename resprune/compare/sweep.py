"""One question, many ways to prune: every method at every budget, on one encoding of the picture."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event

from transformers import PreTrainedModel, ProcessorMixin

from resprune.compare.answers import Answer
from resprune.compare.comparison import answers
from resprune.images import OpenedImage, Source
from resprune.methods import Method
from resprune.settings import Keep, Settings


@dataclass(frozen=True)
class Trial:
    """One answer of a sweep.

    Attributes:
        settings: how the tokens were chosen; ``None`` where all were read.
        answer: the text and what it cost.
        agreement: with the full answer, see :func:`agreement`.
    """

    settings: Settings | None
    answer: Answer
    agreement: float


def plan(
    settings: Settings, methods: Sequence[str | Method], budgets: Sequence[Keep], seeds: Sequence[int]
) -> list[Settings]:
    """What a sweep tries: each method at each budget, those that draw at random once a seed.

    Args:
        settings: all else.

    Raises:
        InputError: if a method or a budget is none.
    """
    tries = [replace(settings, method=method, keep=keep) for method in methods for keep in budgets]
    return [
        replace(one, method=one.method.drawn(number))
        for one in tries
        for number in (seeds if one.method.draws else [0])
    ]


def sweep(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    image: Source | OpenedImage,
    question: str,
    tries: Sequence[Settings],
    *,
    max_new_tokens: int = 64,
    stop: Event | None = None,
) -> Iterator[Trial]:
    """Answer a question with all visual tokens, then once for each of ``tries``; the picture is encoded once.

    Closing the iterator, or setting ``stop``, ends it within a token; there is then no trial of the answer under way.

    Raises:
        InputError: as :func:`resprune.compare.compare`.
    """
    full, left = None, iter(tries)
    for update in answers(model, processor, image, question, [None, *tries], max_new_tokens, stop or Event()):
        if update.answer is None:
            continue
        if full is None:
            full = update.answer.answer
            yield Trial(None, update.answer, 1.0)
        else:
            yield Trial(next(left), update.answer, agreement(full, update.answer.answer))


def agreement(one: str, other: str) -> float:
    """How far two answers say the same, in ``[0, 1]``: F1 over their words (SQuAD, arXiv 1606.05250), 1 for equals."""
    if one == other:
        return 1.0
    words = [Counter(text.lower().replace(",", " ").replace(".", " ").split()) for text in (one, other)]
    total = words[0].total() + words[1].total()
    return 2 * (words[0] & words[1]).total() / total if total else 0.0
