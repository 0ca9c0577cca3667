"""What the tab does on each click: plain functions and generators, which know no component."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, NamedTuple

import gradio as gr

from app import panels
from app.asking import Options
from app.downloads import download
from app.failures import Refused, report
from app.inspect import runner, views, votes
from app.inspect.export import export, numbers
from app.inspect.store import Job, Store
from app.registry import Registry
from app.updates import SAME
from app.uploads import Upload

PACE = 1.0  # seconds between two changes of the grid


class Shown(NamedTuple):
    """What becomes of the tab's outputs; each stays as it is unless given."""

    key: Any = SAME
    status: Any = SAME
    message: Any = SAME
    buttons: Any = SAME
    grid: Any = SAME
    page: Any = SAME
    pair: Any = SAME
    tally: Any = SAME
    judged: Any = SAME
    moves: Any = SAME


class View(NamedTuple):
    """How a visitor looks at the results: the filter, the order, the page of the grid from 0."""

    only: str = "all"
    sort: str = "given"
    page: float = 0


def told(handler: Callable[..., Shown]) -> Callable[..., Shown]:
    """A handler that says what went wrong on the page."""

    @wraps(handler)
    def safe(*values: Any, **options: Any) -> Shown:
        try:
            return handler(*values, **options)
        except Exception as error:
            return Shown(message=panels.message(report(error)))

    return safe


def wait() -> Shown:
    """Answer the click at once, before the queue does."""
    return Shown(status=views.waiting("Waiting for its turn."), message="")


def start(
    registry: Registry,
    store: Store,
    files: Sequence[str | Upload] | None,
    path: str | None,
    question: str | None,
    *options: Any,
) -> Iterator[Shown]:
    """Make a job and run it."""
    try:
        key = runner.begin(store, files or [], path or "", question or "", Options.of_page(options), registry.model_id)
    except Exception as error:
        yield Shown(message=panels.message(report(error)), status=views.NO_JOB)
        return
    yield from resume(registry, store, key)


def resume(registry: Registry, store: Store, key: str) -> Iterator[Shown]:
    """Run what is left of a job; closing the iterator pauses it."""
    try:
        with store.running(key) as stop:
            job = store.open(key)
            yield Shown(key=key, message="")
            for progress in registry.wait(stop):
                yield Shown(status=views.waiting(f"Waiting for the model, {progress.share:.0%}."))
            yield _all(job, "running")
            shown = time.monotonic()
            for _ in runner.run(registry, job, stop):
                if time.monotonic() - shown >= PACE:
                    shown = time.monotonic()
                    yield Shown(status=views.status(job, "running"))
    except Exception as error:
        yield Shown(message=panels.message(report(error)))
    yield found(store, key)


def found(store: Store, key: str) -> Shown:
    """A job as it is; nothing, if the key is none."""
    try:
        job = store.open(key)
    except Refused:
        return Shown(key="", status=views.NO_JOB, buttons=gr.update(visible=False), grid="", pair="", tally="")
    return _all(job, views.state_of(job, store.is_running(key)))


@told
def pause(store: Store, key: str) -> Shown:
    """Stop the job within a token."""
    store.pause(key)
    return found(store, key)


@told
def cancel(store: Store, key: str) -> Shown:
    """Give up what is pending."""
    store.pause(key)
    job = store.open(key)
    job.note({"cancelled": True})
    return _all(job, views.state_of(job, False))


@told
def delete(store: Store, key: str) -> Shown:
    """Remove the job and its pictures from the server."""
    store.delete(key)
    return found(store, key)


@told
def look(store: Store, key: str, *view: Any, step: int = 0) -> Shown:
    """One page of the grid; nothing without a job.

    Args:
        store: of the jobs.
        key: of the job.
        view: see :class:`View`.
        step: pages to go on.
    """
    if not key:
        return Shown(grid="")
    job, seen = store.open(key), View(*view)
    chosen = numbers(job, seen.only, seen.sort)
    page = max(0, min(views.pages(chosen) - 1, int(seen.page) + step))
    return Shown(grid=views.grid(job, chosen, page), page=page, moves=gr.update(visible=views.pages(chosen) > 1))


@told
def judge(store: Store, key: str, item: int | None, choice: str) -> Shown:
    """Vote on the pair ``item``, the one that was shown, and show the next."""
    job = store.open(key)
    if item is not None:
        votes.vote(job, item, choice)
    return _ballot(job)


@told
def ballot(store: Store, key: str) -> Shown:
    """The pair to vote on."""
    return _ballot(store.open(key)) if key else Shown()


def take(store: Store, key: str, format: str) -> str:
    """The results as a file.

    Raises:
        gr.Error: with a sentence for the user, if there is no such job.
    """
    try:
        return download(f"resprune-results.{format}", export(store.open(key), format))
    except Exception as error:
        raise gr.Error(report(error), print_exception=False) from error


def _all(job: Job, state: str) -> Shown:
    return Shown(status=views.status(job, state), buttons=gr.update(visible=True))


def _ballot(job: Job) -> Shown:
    shown = votes.next_pair(job)
    return Shown(pair=views.pair(job, shown), tally=views.tally(votes.tally(job)), judged=shown and shown.item)
