"""The upper part of the page: ask on the left, both answers on the right."""

from functools import partial
from typing import NamedTuple

import gradio as gr
from gradio.events import Dependency

from app import handlers, panels
from app.asking import Options
from app.patch_map import patch_map
from app.picture import picture
from app.registry import Registry
from app.scenes import examples
from app.session import SIDES, Side

TOKENS = 576  # visual tokens of a picture in the LLaVA-1.5 layout
HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}
AT_ONCE = HIDDEN | {"queue": False}


class Comparison(NamedTuple):
    """What the tabs below need of the upper part.

    Attributes:
        picture: its value is the path of the upload, or ``None``.
        question: as it was typed.
        options: components whose values, in this order, are those of :class:`app.asking.Options`.
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


def build_comparison(registry: Registry, session: gr.State) -> Comparison:
    """Both sides of the upper part, and what happens on each click in them."""
    with gr.Row(elem_id="main"):
        with gr.Column(elem_id="ask-side"):
            chosen, question, budget, drawn, nouns, ask, stop, message = _question()
        with gr.Column(elem_id="answer-side"):
            verdict = gr.HTML(panels.verdict(None), elem_id="verdict", apply_default_css=False)
            with gr.Row(elem_id="answers"):
                full, pruned = (
                    gr.HTML(panels.panel(name, Side()), elem_id=f"{name}-panel", apply_default_css=False)
                    for name in SIDES
                )
            with gr.Column(elem_id="times"):
                gr.HTML("<h2>Where the time goes <span>milliseconds</span></h2>", apply_default_css=False)
                chart = gr.Plot(show_label=False, container=False, elem_id="chart")
    shown = list(handlers.Shown(full, pruned, verdict, drawn, nouns, chart, message, ask, stop))
    options: list[gr.components.Component] = [budget]

    asked = gr.on([ask.click, question.submit], handlers.begin, session, shown, **AT_ONCE)
    run = asked.then(
        partial(handlers.ask, registry),
        [chosen, question, session, *options],
        shown,
        concurrency_id="device",
        concurrency_limit=1,
        **HIDDEN,
    )
    run.failure(handlers.refused, session, shown, **AT_ONCE)
    stop.click(handlers.stop, session, shown, **AT_ONCE)
    stop.click(None, cancels=run)
    chosen.change(handlers.forget, session, shown, **AT_ONCE)
    chosen.change(None, cancels=run)
    drawn.picture(None, drawn, [chosen, drawn], js="(value) => [value.file, null]", **AT_ONCE)
    drawn.another(None, None, [chosen, drawn], js="() => [null, null]", **AT_ONCE)
    return Comparison(chosen, question, options, session, shown, run)


def _question() -> tuple:
    """The left side: choose a picture, set the budget, ask."""
    offered = examples()
    with gr.Row(elem_id="scenes"):
        thumbs = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=[[str(e.path)] for e in offered],
            type="index",
            show_label=False,
            container=False,
            elem_id="examples",
        )
        new = gr.Button("New scene", size="sm", elem_id="new-scene")
    with gr.Column(elem_id="stage"):
        chosen = picture(str(offered[0].path), elem_id="picture", height="100%")
        drawn = patch_map()
    keep = Options().keep
    budget = gr.Slider(1, TOKENS, keep, step=1, label="Budget: visual tokens to keep", elem_id="budget", buttons=[])
    question = gr.Textbox(offered[0].question, label="Question", max_lines=3, elem_id="question", autofocus=True)
    with gr.Row(elem_id="buttons"):
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
    message = gr.HTML(elem_id="message", apply_default_css=False)
    nouns = gr.HTML(elem_id="nouns", apply_default_css=False)
    thumbs.click(partial(handlers.pick, offered), thumbs, [chosen, question], queue=False, **HIDDEN)
    new.click(handlers.compose, None, [chosen, question], queue=False, **HIDDEN)
    return chosen, question, budget, drawn, nouns, ask, stop, message
