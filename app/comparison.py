"""The upper part of the page: ask on the left, both answers on the right, and what each click does."""

from functools import partial
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import Dependency

from app import handlers, starting
from app.charts import stages_legend
from app.handlers import Shown
from app.question_side import QuestionSide, build_question_side
from app.registry import Registry
from app.session import SIDES

HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}
AT_ONCE = HIDDEN | {"queue": False}


class Comparison(NamedTuple):
    """What the tabs below need of the upper part.

    Attributes:
        picture: its value is the path of the upload, or ``None``.
        question: as it was typed.
        options: components whose values :meth:`app.asking.Options.of_page` takes.
        session: the visitor's :class:`app.session.Session`; its ``record`` is the comparison that is shown.
        outputs: what :class:`app.handlers.Shown` fills, in its order.
        done: the event after which the answers are there, or are not going to come.
    """

    picture: gr.Image
    question: gr.Textbox
    options: list[gr.components.Component]
    session: gr.State
    outputs: list[gr.components.Component]
    done: Dependency


def build_comparison(registry: Registry, session: gr.State, quantization: gr.Dropdown) -> Comparison:
    """Both sides of the upper part.

    Args:
        registry: of the model that answers.
        session: whose record is shown at first.
        quantization: of the model, to stand among the advanced settings.
    """
    offered = starting.Offer.load()
    start = starting.shown(offered.record)
    with gr.Row(elem_id="main"):
        with gr.Column(elem_id="ask-side"):
            left = build_question_side(offered, start, quantization)
        with gr.Column(elem_id="answer-side"):
            right = _answer_side(start)
    outputs = list(
        Shown(
            **right,
            patch_map=left.patch_map,
            notes=left.notes,
            message=left.message,
            budget=left.budget,
            ask=left.ask,
            stop=left.stop,
        )
    )
    session.value.show(offered.record)
    done = _answering(registry, left, session, outputs)
    _choosing(offered, left, session, outputs, done)
    left.budget.release(handlers.mark, [session, left.budget], right["energy"], **AT_ONCE)
    left.patch_map.release(handlers.mark, [session, left.budget], right["energy"], **AT_ONCE)
    return Comparison(left.picture, left.question, left.options, session, outputs, done)


def chart_card(elem_id: str, title: str, unit: str, legend: str = "", figure: Any = None) -> gr.Plot:
    """A chart under a title, in a card of its own; ``legend`` is HTML."""
    with gr.Column(elem_id=f"{elem_id}-card", elem_classes="card", min_width=200):
        gr.HTML(f"<header><h2>{title} <span>{unit}</span></h2>{legend}</header>", apply_default_css=False)
        return gr.Plot(figure, show_label=False, container=False, elem_id=elem_id, elem_classes="chart")


def _answer_side(start: Shown) -> dict[str, gr.components.Component]:
    """The right side: verdict, panels, where they differ, charts; by the name of what fills them."""

    def html(name: str, elem_id: str) -> gr.HTML:
        return gr.HTML(getattr(start, name), elem_id=elem_id, apply_default_css=False)

    def plot(name: str, title: str, unit: str, legend: str = "") -> gr.Plot:
        return chart_card(name, title, unit, legend, getattr(start, name))

    parts: dict[str, gr.components.Component] = {name: html(name, name) for name in ("origin", "verdict")}
    with gr.Row(elem_id="answers"):
        parts |= {name: html(name, f"{name}-panel") for name in SIDES}
    parts["differences"] = html("differences", "differences")
    with gr.Row(elem_id="charts"):
        parts["times"] = plot("times", "Time", "milliseconds", stages_legend())
        parts["memory"] = plot("memory", "KV memory", "MB")
        parts["energy"] = plot("energy", "Energy captured", "by n tokens")
    return parts


def _answering(registry: Registry, left: QuestionSide, session: gr.State, outputs: list[Any]) -> Dependency:
    """Ask, by a click, by Enter, or with exactly the patches of the map; Stop."""
    asks = [left.ask.click, left.question.submit, left.patch_map.apply]
    run = gr.on(asks, handlers.clicked, session, outputs, **AT_ONCE).then(
        partial(handlers.ask, registry),
        [left.picture, left.question, session, *left.options],
        outputs,
        concurrency_id="device",
        concurrency_limit=1,
        **HIDDEN,
    )
    run.failure(handlers.refused, session, outputs, **AT_ONCE)
    left.stop.click(handlers.stop, session, outputs, **AT_ONCE)
    left.stop.click(None, cancels=run)
    return run


def _choosing(
    offered: starting.Offer, left: QuestionSide, session: gr.State, outputs: list[Any], run: Dependency
) -> None:
    """Another picture: an example, a new scene, an upload, one pasted or dropped on the map."""
    begun = [left.picture, left.question, left.suggested, *outputs]
    picked = {**AT_ONCE, "trigger_mode": "always_last"}  # of many clicks, the last counts
    left.examples.click(partial(starting.pick, offered), [left.examples, session], begun, **picked)
    left.new.click(starting.compose, session, begun, **AT_ONCE)
    fresh = [left.suggested, *outputs]
    given = [left.picture.upload, left.picture.clear, left.picture.input]
    gr.on(given, starting.given, session, fresh, **AT_ONCE)
    taken = [left.picture, left.patch_map]
    dropped = left.patch_map.upload(None, left.patch_map, taken, js="(value) => [value.file, null]", **AT_ONCE)
    cleared = left.patch_map.clear(None, None, taken, js="() => [null, null]", **AT_ONCE)
    for moved in (dropped, cleared):
        moved.then(starting.given, session, fresh, **AT_ONCE)
    changed = [left.examples.click, left.new.click, *given, left.patch_map.upload, left.patch_map.clear]
    gr.on(changed, None, cancels=run, api_visibility="private")
    left.suggested.click(lambda sample: sample[0], left.suggested, left.question, **AT_ONCE)
