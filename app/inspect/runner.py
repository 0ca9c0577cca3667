"""Answering a job's questions one after the other, until it is done, paused or cancelled."""

import threading
from collections.abc import Iterator
from typing import Any

from app import asking
from app.asking import Options
from app.failures import Refused, report
from app.inspect.items import Item, items
from app.inspect.pool import Limits, folder, uploaded
from app.inspect.store import Job, Store
from app.machine import named
from app.registry import Registry

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
    item, answers = job.plan.items[number], {}
    try:
        for update, _ in asking.updates(registry, str(job.picture(number)), item.question, options, stop):
            if update.answer:
                answers[update.side] = update.answer.as_dict()
    except FileNotFoundError:
        return {"error": "The picture is gone from the server."}
    except Exception as error:
        return {"error": report(error)}
    if len(answers) < 2:
        return None
    full, pruned = ({k: v for k, v in answers[side].items() if k not in KEPT_OUT} for side in ("full", "pruned"))
    return {"full": full, "pruned": pruned, "change": change(full["answer"], pruned["answer"])} | _marks(item, answers)


def _marks(item: Item, answers: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Which sides are right, where the right answers are known."""
    from resprune.evaluate.accuracy import normalised

    right = {normalised(answer) for answer in item.answers}
    return {f"{side}_right": normalised(answers[side]["answer"]) in right for side in answers} if right else {}


def change(full: str, pruned: str) -> float:
    """How much an answer changed, from 0 (the same) to 1.

    Levenshtein's distance, the edits of one character (insert, delete, replace) that turn one into the other, as a
    share of the longer one's length.
    """
    if full == pruned:
        return 0.0
    row = list(range(len(pruned) + 1))
    for i, one in enumerate(full, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(pruned, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1] / max(len(full), len(pruned))
