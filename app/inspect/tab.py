"""Inspect many: pictures and questions in, a grid of answers, a blind vote, and the results as a file."""

import os
from functools import partial

import gradio as gr

from app.comparison import AT_ONCE, HIDDEN, Comparison
from app.downloads import save_button
from app.inspect import endpoints, handlers, views
from app.inspect.pool import FOLDERS
from app.inspect.store import Store
from app.operator import Operator
from app.registry import Registry
from app.uploads import paths

ABOUT = (
    "<p>Upload pictures, zips of them, or tables (CSV, TSV, JSONL) with the columns <code>image</code>, "
    "<code>question</code> and, if known, <code>answers</code>, together with their pictures. Budget, method and the "
    "other settings are those above. Results are stored as they come: with its key a job goes on where it stopped, "
    "even after a restart. It is deleted {days:g} days after it was last touched.</p>"
)
REMEMBERED = "localStorage.{}Item('resprune-job'{})"
JOBS_AT_ONCE = 4


def build_inspect(registry: Registry, comparison: Comparison) -> None:
    """Build the tab inside the one that is open, and its endpoints for programs.

    Args:
        registry: of the model that answers.
        comparison: whose settings apply.
    """
    days = Operator.of_environment().days
    store = Store(days=days)
    gr.HTML(ABOUT.format(days=days), elem_id="inspect-about", apply_default_css=False)
    with gr.Row(elem_id="inspect-form"):
        files = gr.File(
            label="Pictures, zips, tables", file_count="multiple", elem_id="inspect-files", height=150, show_label=False
        )
        with gr.Column():
            question = gr.Textbox(
                "What is in the picture?",
                label="Question for each picture, without a table",
                elem_id="inspect-question",
            )
            opened = bool(os.environ.get(FOLDERS))
            path = gr.Textbox(label="Or a folder of the server", visible=opened, elem_id="inspect-folder")
            start = gr.Button("Start", variant="primary", elem_id="inspect-start")
        with gr.Column():
            key = gr.Textbox(
                label="Key of the job; keep it to come back", elem_id="inspect-key", buttons=["copy"], max_length=64
            )
            with gr.Row():
                resume = gr.Button("Resume", elem_id="inspect-resume", size="sm", min_width=80)
                pause = gr.Button("Pause", elem_id="inspect-pause", size="sm", min_width=80)
                cancel = gr.Button("Cancel", elem_id="inspect-cancel", size="sm", min_width=80)
                delete = gr.Button("Delete", elem_id="inspect-delete", size="sm", min_width=80, variant="stop")
    message = gr.HTML(elem_id="inspect-message", apply_default_css=False)
    status = gr.HTML(views.NO_JOB, elem_id="inspect-status", apply_default_css=False)
    with gr.Column(visible=False, elem_id="inspect-results") as results, gr.Tabs():
        with gr.Tab("Results", id="results"):
            view, grid, moving, moves = _results(store, key)
        with gr.Tab("Blind vote", id="vote") as voting:
            pair, tally, choices = _ballot()
    judged = gr.State(None)
    shown = list(handlers.Shown(key, status, message, results, grid, view[2], pair, tally, judged, moving))

    queued = HIDDEN | {"concurrency_id": "inspect", "concurrency_limit": JOBS_AT_ONCE}
    paths(files)
    begin = partial(handlers.start, registry, store)
    asked = start.click(handlers.wait, None, shown, **AT_ONCE)
    asked.then(begin, [files, path, question, *comparison.options], shown, **queued)
    resume.click(handlers.wait, None, shown, **AT_ONCE).then(
        partial(handlers.resume, registry, store), key, shown, **queued
    )
    for button, handler in ((pause, handlers.pause), (cancel, handlers.cancel), (delete, handlers.delete)):
        button.click(partial(handler, store), key, shown, **AT_ONCE)

    look = partial(handlers.look, store)
    gr.on([status.change, *(part.input for part in view[:2])], look, [key, *view], shown, **AT_ONCE)
    for button, step in zip(moves, (-1, 1), strict=True):
        button.click(partial(look, step=step), [key, *view], shown, **AT_ONCE)
    voting.select(partial(handlers.ballot, store), key, shown, **AT_ONCE)
    for button, choice in choices.items():
        button.click(
            lambda key, item, choice=choice: handlers.judge(store, key, item, choice), [key, judged], shown, **AT_ONCE
        )
    _remember(store, key, shown)
    endpoints.add(registry, store)


def _results(store: Store, key: gr.Textbox) -> tuple[list, gr.HTML, gr.Row, list[gr.Button]]:
    """The grid, and how it is looked at: filter, order, page, and the buttons to the pages beside it."""
    with gr.Row(elem_id="inspect-view"):
        only = gr.Radio(
            [("All", "all"), ("Different answers", "different"), ("Not answered", "errors")],
            value="all",
            label="Show",
            elem_id="inspect-only",
        )
        sort = gr.Radio(
            [("As given", "given"), ("Most changed first", "change")],
            value="given",
            label="Sort",
            elem_id="inspect-sort",
        )
        page = gr.Number(0, visible=False)
        for form in ("csv", "jsonl"):
            write = partial(handlers.take, store, format=form)
            save_button(f"Save {form.upper()}", f"inspect-{form}", write, key, size="sm", min_width=110)
    grid = gr.HTML(elem_id="inspect-grid", apply_default_css=False)
    with gr.Row(elem_id="inspect-moves", visible=False) as moving:
        moves = [gr.Button(name, size="sm", min_width=110) for name in ("Earlier", "Further")]
    return [only, sort, page], grid, moving, moves


def _ballot() -> tuple[gr.HTML, gr.HTML, dict[gr.Button, str]]:
    """A pair of answers, and the buttons to vote on it."""
    pair = gr.HTML(elem_id="inspect-pair", apply_default_css=False)
    with gr.Row(elem_id="inspect-choices"):
        names = {"a": "A is better", "tie": "No difference", "b": "B is better"}
        choices = {gr.Button(name, elem_id=f"inspect-vote-{choice}"): choice for choice, name in names.items()}
    tally = gr.HTML(elem_id="inspect-tally", apply_default_css=False)
    return pair, tally, choices


def _remember(store: Store, key: gr.Textbox, shown: list) -> None:
    """Keep the key in the visitor's own browser, and show that job when the page is opened again."""
    key.change(None, key, None, js=f"(key) => {{ {REMEMBERED.format('set', ', key')} }}", **AT_ONCE)
    opened = gr.on(None, None, None, key, js=f"() => {REMEMBERED.format('get', '')} ?? ''", **AT_ONCE)
    opened.then(partial(handlers.found, store), key, shown, **AT_ONCE)
