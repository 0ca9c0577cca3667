"""The left side of the page: choose a picture, set the budget, ask."""

from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from app.handlers import Shown
from app.methods import component, own_options, page_methods
from app.patch_map import patch_map
from app.picture import picture
from app.scenes import questions_for
from app.starting import Offer
from app.stored import OPTIONS

TOKENS = 576  # visual tokens of a picture in the LLaVA-1.5 layout
LONGEST = 256  # tokens of an answer


class QuestionSide(NamedTuple):
    """Its components; ``options`` are those of :meth:`app.asking.Options.of_page`."""

    examples: gr.Dataset
    new: gr.Button
    picture: gr.Image
    patch_map: gr.HTML
    budget: gr.Slider
    question: gr.Textbox
    suggested: gr.Dataset
    ask: gr.Button
    stop: gr.Button
    message: gr.HTML
    notes: gr.HTML
    options: list[gr.components.Component]


def build_question_side(offered: Offer, start: Shown, quantization: gr.Dropdown) -> QuestionSide:
    """Build it inside the column that is open."""
    first = offered.examples[0]
    with gr.Row(elem_id="scenes"):
        examples = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=[[str(example.path)] for example in offered.examples],
            type="index",
            samples_per_page=100,
            show_label=False,
            container=False,
            elem_id="examples",
        )
        new = gr.Button("New scene", size="sm", elem_id="new-scene")
    with gr.Column(elem_id="stage"):
        chosen = picture(str(first.path), elem_id="picture", height="100%")
        drawn = patch_map(start.patch_map)
    with gr.Row(elem_id="how"):
        budget = gr.Slider(
            1, TOKENS, OPTIONS.keep, step=1, label="Budget: visual tokens to keep", elem_id="budget", buttons=[]
        )
        method = gr.Dropdown(
            [(name, key) for key, name in page_methods().items()],
            value=OPTIONS.method,
            label="Method",
            show_label=False,
            container=False,
            elem_id="method",
        )
        mass = gr.Checkbox(OPTIONS.mass, label="with mass", container=False, elem_id="mass")
    question = gr.Textbox(
        first.question,
        label="Question",
        show_label=False,
        container=False,
        placeholder="Ask about the picture",
        max_lines=3,
        elem_id="question",
        autofocus=True,
    )
    suggested = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=[[text] for text in questions_for(first)],
        show_label=False,
        container=False,
        elem_id="suggested",
    )
    with gr.Row(elem_id="buttons"):
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
    message = gr.HTML(elem_id="message", apply_default_css=False)
    notes = gr.HTML(start.notes, elem_id="notes", apply_default_css=False)
    options = [budget, mass, method, *_advanced(method, quantization)]
    return QuestionSide(examples, new, chosen, drawn, budget, question, suggested, ask, stop, message, notes, options)


def _advanced(method: gr.Dropdown, quantization: gr.Dropdown) -> list[gr.components.Component]:
    """What hardly anybody changes, folded away: what holds for every method, then the options of the chosen one."""
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        with gr.Row():
            positions = gr.Radio(["original", "sequential"], value=OPTIONS.positions, label="Positions")
            quantization.render()
            length = gr.Slider(1, LONGEST, OPTIONS.max_new_tokens, step=1, label="Longest answer", buttons=[])
        own, groups = [], {}
        for name in page_methods():
            with gr.Row(visible=name == OPTIONS.method, elem_id=f"options-{name}") as groups[name]:
                own += [component(name, one) for owner, one in own_options() if owner == name]
    shown = partial(_shown, list(groups))
    method.change(shown, method, list(groups.values()), queue=False, api_visibility="private", show_progress="hidden")
    return [positions, length, *own]


def _shown(names: list[str], chosen: str) -> list[Any]:
    """The options of the chosen method, and no others."""
    return [gr.update(visible=name == chosen) for name in names]
