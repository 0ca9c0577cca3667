"""The page: a header, the comparison, and the tabs below it, each in a module of its own."""

from functools import partial

import gradio as gr

from app import api, handlers
from app.comparison import build_comparison
from app.registry import Registry
from app.session import Session
from app.sweep.tab import build_sweep

ABOUT = (
    "A model cuts a picture into patches and reads each as one <b>visual token</b>. Most of them say the same thing "
    "twice. ResPrune keeps the few that say something new, and the same model answers again."
)
BUNDLED_ONLY = (
    "It knows <b>emoji scenes only</b>. For photographs, start the demo with a larger model: "
    "<code>RESPRUNE_MODEL=llava-hf/llava-1.5-7b-hf</code>, see README."
)
TABS = {"Sweep": build_sweep}  # the name of each tab, and what builds it from the registry and the comparison


def build(registry: Registry) -> gr.Blocks:
    """The demo, on the model of ``registry``."""
    with gr.Blocks(title="ResPrune", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as demo:
        session = gr.State(Session())
        model = _header(registry)
        comparison = build_comparison(registry, session)
        with gr.Tabs(elem_id="more"):
            for name, build_tab in TABS.items():
                with gr.Tab(name, id=name.lower().replace(" ", "-")):
                    build_tab(registry, comparison)
        hidden = {"api_visibility": "private", "show_progress": "hidden"}
        demo.load(partial(handlers.loading, registry), None, model, concurrency_limit=None, **hidden)
        api.add(registry)
    return demo.queue(max_size=16, default_concurrency_limit=4)


def _header(registry: Registry) -> gr.HTML:
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>ResPrune</h1><p>{ABOUT}</p>", elem_id="about", apply_default_css=False)
        with gr.Column(elem_id="which"):
            model = gr.HTML(elem_id="model", apply_default_css=False)
            if registry.model_id == "bundled":
                gr.HTML(f"<p>{BUNDLED_ONLY}</p>", elem_id="bundled-only", apply_default_css=False)
    return model
