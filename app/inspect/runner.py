"""Answering a job's questions one after the other, until it is done, paused or cancelled."""

import math
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app import asking
from app.asking import Options
from app.failures import Refused, report
from app.inspect.items import Item, items
from app.inspect.pool import Limits, folder, uploaded
from app.inspect.store import Job, Store
from app.naming import named
from app.registry import Registry

if TYPE_CHECKING:
    from resprune.answers import Update

RAREST = 1e-9  # a probability below this counts as this
KEPT_OUT = ("kept",)  # of an answer: hundreds of places that no table of results shows


def begin(store: Store, files: list[str], path: str, question: str, options: Options, model: str) -> str:
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
    return store.create(pool, asked, problems, vars(options) | {"indices": list(options.indices)}, model)


def run(registry: Registry, job: Job, stop: threading.Event) -> Iterator[int]:
    """Answer what is pending, note each result, and yield its number; what cannot be answered is noted with the reason.

    The model is lent for one question at a time, so that others get theirs in between.

    Raises:
        Refused: if there is no model.
    """
    options = Options(**job.plan.settings | {"indices": tuple(job.plan.settings["indices"])})
    for _ in registry.wait(stop):
        pass
    if registry.failure:
        raise Refused(registry.failure)
    if registry.model_id != job.plan.model:
        raise Refused(
            f"This job was begun with the model {named(job.plan.model)}; start the page with it, or a new job."
        )
    for number in job.pending:
        result = _answered(registry, job, number, options, stop)
        if stop.is_set() or result is None:
            return
        job.note({"item": number, "result": result})
        yield number


def _answered(
    registry: Registry, job: Job, number: int, options: Options, stop: threading.Event
) -> dict[str, Any] | None:
    """Both answers of an item, or why there are none; ``None`` if it was stopped."""
    item, done = job.plan.items[number], {}
    try:
        for update, _ in asking.updates(registry, str(job.picture(number)), item.question, options, stop):
            if update.answer:
                done[update.side] = update
        changed = _changed(registry, done["full"], options, stop) if len(done) == 2 else None
    except FileNotFoundError:
        return {"error": "The picture is gone from the server."}
    except Exception as error:
        return {"error": report(error)}
    if changed is None:
        return None
    answers = {side: update.answer.as_dict() for side, update in done.items()}
    shown = {side: {k: v for k, v in fields.items() if k not in KEPT_OUT} for side, fields in answers.items()}
    return shown | {"change": changed} | _marks(item, answers)


def _changed(registry: Registry, full: "Update", options: Options, stop: threading.Event) -> float | None:
    """How much less likely pruning makes the full answer: the mean over its tokens of the fall of the log-probability.

    In nats a token: 0 is no change, and 0.7 is half as likely. ``None`` if it was stopped.
    """
    from resprune.differences import differences

    with registry.lend() as lent:
        tokens = differences(lent.model, lent.processor, full.asked, list(full.token_ids), options.settings(), stop)
    falls = [math.log(max(t.full, RAREST)) - math.log(max(t.pruned, RAREST)) for t in tokens]
    return sum(falls) / len(falls) if falls else None


def _marks(item: Item, answers: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Which sides are right, where the right answers are known."""
    from resprune.evaluate.accuracy import normalised

    right = {normalised(answer) for answer in item.answers}
    return {f"{side}_right": normalised(answers[side]["answer"]) in right for side in answers} if right else {}
