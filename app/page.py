"""The page: a header, the comparison, and the tabs below it, each in a module of its own."""

from pathlib import Path

import gradio as gr

from app import api, model_choice
from app.comparison import build_comparison
from app.inspect.tab import build_inspect
from app.registry import Registry
from app.report.tab import build_report
from app.session import Session
from app.stories import tab as story_tab
from app.strict import Page
from app.sweep.tab import build_sweep

HELP = Path(__file__).parent / "static" / "help.html"
ABOUT = (
    "Same question, fewer tokens. A model cuts a picture into patches and reads each as one <b>visual token</b>; most "
    "say the same thing twice. ResPrune keeps the few that say something new, and the same model answers again."
)
# The name of each tab, and what builds it from the registry and the comparison.
TABS = {"Sweep": build_sweep, "Inspect many": build_inspect, "Stories": story_tab.build_stories, "Report": build_report}


def build(registry: Registry) -> gr.Blocks:
    """The demo, on the model of ``registry``."""
    with Page(title="ResPrune", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as demo:
        session = gr.State(Session())
        with gr.Row(elem_id="top"):
            gr.HTML(f"<h1>ResPrune</h1><p>{ABOUT}</p>{HELP.read_text()}", elem_id="about", apply_default_css=False)
            with gr.Column(elem_id="which"):
                parts = model_choice.build_model_choice(registry)
                present = story_tab.build_present()
        comparison = build_comparison(registry, session, parts[2])
        with gr.Tabs(elem_id="more") as tabs:
            for name, build_tab in TABS.items():
                with gr.Tab(name, id=name.lower().replace(" ", "-")):
                    build_tab(registry, comparison)
        story_tab.wire(present, tabs, "stories")
        model_choice.wire(registry, demo, parts)
        api.add(registry)
    return demo.queue(max_size=16, default_concurrency_limit=4)
