"""The endpoints of a job for programs: each knows it by the key that ``/inspect_start`` gives."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import gradio as gr

from app.downloads import download
from app.endpoints import OPTIONS, endpoint, options_of
from app.inspect import runner, views, votes
from app.inspect.export import FORMATS, export, rows
from app.inspect.store import Store
from app.registry import Registry
from app.uploads import Upload, paths

PROGRESS = "State (running, paused, cancelled, done), number of answered, all, different and unanswered questions"
TALLY = "Votes for each side, ties, pairs left, share of the pruned side with its 95 % interval after Wilson"


def add(registry: Registry, store: Store) -> None:
    """Add the endpoints to the page that is being built."""
    with gr.Column(visible=False):
        key = gr.Textbox(label="Key of the job")
        files = paths(gr.File(label="Pictures, zips of them, tables (image, question, answers)", file_count="multiple"))
        path = gr.Textbox("", label="A folder of the server instead, where its operator has opened it")
        question = gr.Textbox("What is in the picture?", label="Question for each picture, if there is no table")
        options = [build() for build in OPTIONS]
        only = gr.Radio(["all", "different", "errors"], value="all", label="Which results")
        sort = gr.Radio(["given", "change"], value="given", label="In which order")
        item = gr.Number(label="Number of the item", precision=0)
        choice = gr.Radio(list(votes.CHOICES), label="The better answer")
        form = gr.Radio(list(FORMATS), value="csv", label="Format")
        problems = gr.JSON(label="What was left out, one sentence each")
        progress, table = gr.JSON(label=PROGRESS), gr.JSON(label="Results, one object an item")
        pair = gr.JSON(label="The pair to judge: item, question, image, answers a and b; null if there is none")
        counted, file = gr.JSON(label=TALLY), gr.File(label="The results")
        deleted = gr.Textbox(label="What was done")
    running = {"concurrency_id": "inspect", "concurrency_limit": None}
    endpoint("inspect_start", partial(_start, registry, store), [files, path, question, *options], [key, problems])
    endpoint("inspect_run", partial(_run, registry, store), key, progress, **running)
    endpoint("inspect_pause", partial(_pause, store), key, progress)
    endpoint("inspect_cancel", partial(_cancel, store), key, progress)
    endpoint("inspect_results", partial(_results, store), [key, only, sort], table)
    endpoint("inspect_pair", partial(_pair, store), key, pair)
    endpoint("inspect_vote", partial(_vote, store), [key, item, choice], counted)
    endpoint("inspect_export", partial(_export, store), [key, form], file)
    endpoint("inspect_delete", partial(_delete, store), key, deleted)


def _start(
    registry: Registry,
    store: Store,
    files: Sequence[str | Upload] | None,
    folder: str,
    question: str,
    *options: Any,
) -> tuple[str, list[str]]:
    """Make a job of pictures, zips and tables; nothing is answered yet. Returns its key, and what was left out."""
    key = runner.begin(store, files or [], folder or "", question or "", options_of(*options), registry.model_id)
    return key, store.open(key).plan.problems


def _run(registry: Registry, store: Store, key: str) -> Iterator[dict[str, Any]]:
    """Answer what is left of a job, and stream how far it is; cancelling this call pauses the job."""
    with store.running(key) as stop:
        job = store.open(key)
        yield views.progress(job, "running")
        for _ in runner.run(registry, job, stop):
            yield views.progress(job, "running")
    yield _progress(store, key)


def _pause(store: Store, key: str) -> dict[str, Any]:
    """Pause a job within a token; /inspect_run goes on with it."""
    store.pause(key)
    return _progress(store, key)


def _cancel(store: Store, key: str) -> dict[str, Any]:
    """Give up what is left of a job; its results stay."""
    store.pause(key)
    store.open(key).note({"cancelled": True})
    return _progress(store, key)


def _results(store: Store, key: str, only: str, sort: str) -> list[dict[str, Any]]:
    """The results so far; change is the fall of the log-probability of the full answer, in nats a token."""
    return rows(store.open(key), only, sort)


def _pair(store: Store, key: str) -> dict[str, Any] | None:
    """Two different answers to judge blindly: which side is a is drawn from the job's seed, and not told."""
    job = store.open(key)
    shown = votes.next_pair(job)
    return shown and asdict(shown) | {"question": job.plan.items[shown.item].question}


def _vote(store: Store, key: str, item: int, choice: str) -> dict[str, Any]:
    """Say which answer of a pair is better: a, b or tie. Returns the tally."""
    job = store.open(key)
    votes.vote(job, item, choice)
    return asdict(votes.tally(job))


def _export(store: Store, key: str, format: str) -> str:
    """The results as a file, CSV or JSONL."""
    return download(f"resprune-results.{format}", export(store.open(key), format))


def _delete(store: Store, key: str) -> str:
    """Stop a job and remove it, its pictures and its results from the server."""
    store.open(key)
    store.delete(key)
    return "deleted"


def _progress(store: Store, key: str) -> dict[str, Any]:
    job = store.open(key)
    return views.progress(job, views.state_of(job, store.is_running(key)))
