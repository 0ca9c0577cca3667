"""The page: its parts, where they stand, and which handler each click goes to."""

from functools import partial

import gradio as gr

from app import api, handlers, panels
from app.patch_map import patch_map
from app.picture import picture
from app.registry import Registry
from app.scenes import examples
from app.session import SIDES, Session, Side

TOKENS = 576  # visual tokens of a picture in the LLaVA-1.5 layout
BUDGET = 128
ABOUT = (
    "A model cuts a picture into patches and reads each as one <b>visual token</b>. Most of them say the same thing "
    "twice. ResPrune keeps the few that say something new, and the same model answers again."
)
BUNDLED_ONLY = (
    "It knows <b>emoji scenes only</b>. For photographs, start the demo with a larger model: "
    "<code>RESPRUNE_MODEL=llava-hf/llava-1.5-7b-hf</code>, see README."
)


def build(registry: Registry) -> gr.Blocks:
    """The demo, on the model of ``registry``."""
    with gr.Blocks(title="ResPrune", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as demo:
        session = gr.State(Session())
        with gr.Row(elem_id="top"):
            gr.HTML(f"<h1>ResPrune</h1><p>{ABOUT}</p>", elem_id="about", apply_default_css=False)
            with gr.Column(elem_id="which"):
                model = gr.HTML(elem_id="model", apply_default_css=False)
                if registry.model_id == "bundled":
                    gr.HTML(f"<p>{BUNDLED_ONLY}</p>", elem_id="bundled-only", apply_default_css=False)
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
        shown = handlers.Shown(full, pruned, verdict, drawn, nouns, chart, message, ask, stop)
        hidden = {"api_visibility": "private", "show_progress": "hidden"}
        at_once = hidden | {"queue": False}

        asked = gr.on([ask.click, question.submit], handlers.begin, session, list(shown), **at_once)
        run = asked.then(
            partial(handlers.ask, registry),
            [chosen, question, budget, session],
            list(shown),
            concurrency_id="device",
            concurrency_limit=1,
            **hidden,
        )
        run.failure(handlers.refused, session, list(shown), **at_once)
        stop.click(handlers.stop, session, list(shown), **at_once)
        stop.click(None, cancels=run)
        chosen.change(handlers.forget, session, list(shown), **at_once)
        chosen.change(None, cancels=run)
        drawn.picture(None, drawn, [chosen, drawn], js="(value) => [value.file, null]", **at_once)
        drawn.another(None, None, [chosen, drawn], js="() => [null, null]", **at_once)
        demo.load(partial(handlers.loading, registry), None, model, concurrency_limit=None, **hidden)
        api.add(registry)
    return demo.queue(max_size=16, default_concurrency_limit=4)


def _question() -> tuple:
    """The left side: choose a picture, set the budget, ask."""
    offered = examples()
    hidden = {"api_visibility": "private", "show_progress": "hidden"}
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
    budget = gr.Slider(1, TOKENS, BUDGET, step=1, label="Budget: visual tokens to keep", elem_id="budget", buttons=[])
    question = gr.Textbox(offered[0].question, label="Question", max_lines=3, elem_id="question", autofocus=True)
    with gr.Row(elem_id="buttons"):
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
    message = gr.HTML(elem_id="message", apply_default_css=False)
    nouns = gr.HTML(elem_id="nouns", apply_default_css=False)
    thumbs.click(partial(handlers.pick, offered), thumbs, [chosen, question], queue=False, **hidden)
    new.click(handlers.compose, None, [chosen, question], queue=False, **hidden)
    return chosen, question, budget, drawn, nouns, ask, stop, message
