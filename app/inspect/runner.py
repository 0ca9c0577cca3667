"""Answering a job's questions one after the other, until it is done, paused or cancelled."""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from app import asking
from app.asking import Options
from app.failures import Refused, report
from app.inspect.items import Item, items
from app.inspect.pool import Limits, folder, uploaded
from app.inspect.store import Job, Store
from app.naming import named
from app.registry import Registry
from app.uploads import Upload

if TYPE_CHECKING:
    from resprune.compare import TokenChange

RAREST = 1e-9  # a probability below this counts as this
KEPT_OUT = ("kept",)  # of an answer: hundreds of places that no table of results shows


def begin(store: Store, files: Sequence[str | Upload], path: str, question: str, options: Options, model: str) -> str:
    """Make a job of what a visitor gave, and return its key.

    Args:
        store: where it is kept.
        files: uploads: pictures, zips of them, and tables with the columns image, question and answers.
        path: of a folder of the server instead, where the operator has opened it; else empty.
        question: asked about each picture, if there is no table.
        options: of pruning, the same for all.
        model: id of the model that answers.

    Raises:
        InputError, Refused: with a sentence for the user, if nothing can be asked.
    """
    limits: Limits = store.limits
    options.settings()
    pool = folder(path.strip(), limits) if path.strip() else uploaded(files, limits)
    asked, problems = items(pool, question, limits)
    return store.create(pool, asked, problems, options.as_dict(), model)


def run(registry: Registry, job: Job, stop: threading.Event) -> Iterator[int]:
    """Answer what is pending, note each result, and yield its number; what cannot be answered is noted with the reason.

    The model is lent for one question at a time, so that others get theirs in between.

    Raises:
        Refused: if there is no model, or another one than the job was begun with.
    """
    options = Options.of_stored(job.plan.settings)
    for _ in registry.wait(stop):
        pass
    for number in job.pending:
        if registry.loaded is None:
            raise Refused(registry.failure or "The model is not loaded yet; resume in a moment.")
        if registry.loaded.id != job.plan.model:
            model = named(job.plan.model)
            raise Refused(f"This job was begun with the model {model}; choose it again, or start a new job.")
        result = _answered(registry, job, number, options, stop)
        if stop.is_set() or result is None:
            return
        job.note({"item": number, "result": result})
        yield number


def _answered(
    registry: Registry, job: Job, number: int, options: Options, stop: threading.Event
) -> dict[str, Any] | None:
    """Both answers of an item, or why there are none; ``None`` if it was stopped."""
    item, path = job.plan.items[number], str(job.picture(number))
    try:
        with asking.request(registry, path, item.question, options, stop) as request:
            for _ in request.updates():
                pass
            falls = list(map(_fall, request.differences())) if len(request.done) == 2 else []
    except Exception as error:
        return {"error": report(error)}
    if not falls:
        return None
    answers = {side: update.answer.as_dict() for side, update in request.done.items()}
    shown = {side: {k: v for k, v in fields.items() if k not in KEPT_OUT} for side, fields in answers.items()}
    return shown | {"change": sum(falls) / len(falls)} | _marks(item, answers)


def _fall(token: "TokenChange") -> float:
    """By how much pruning lowers the log-probability of a token of the full answer, in nats: 0.7 is half as likely."""
    return math.log(max(token.full, RAREST)) - math.log(max(token.pruned, RAREST))


def _marks(item: Item, answers: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Which sides are right, where the right answers are known."""
    from resprune.evaluate import normalised

    right = {normalised(answer) for answer in item.answers}
    return {f"{side}_right": normalised(answers[side]["answer"]) in right for side in answers} if right else {}
