"""Sweep: every method at several budgets, on the picture and the question above."""

from functools import partial

import gradio as gr

from app.comparison import AT_ONCE, HIDDEN, Comparison, chart_card
from app.methods import page_methods
from app.registry import Registry
from app.sweep import handlers
from app.sweep.handlers import Shown, State
from app.sweep.views import legend

ABOUT = (
    "<p>Every method at several budgets, on the picture and the question above, encoded once. Agreement is the "
    "share of words in common with the full answer (F1). Random draws several times; bars show the range.</p>"
)
BUDGETS = "16, 32, 64, 128"
SEEDS = 3


def build_sweep(registry: Registry, comparison: Comparison) -> None:
    """Build the tab inside the one that is open."""
    state = gr.State(State())
    gr.HTML(ABOUT, elem_classes="tab-about", apply_default_css=False)
    with gr.Row(elem_id="sweep-form"):
        methods = gr.CheckboxGroup(
            [(name, key) for key, name in page_methods().items()],
            value=list(page_methods()),
            label="Methods",
            elem_id="sweep-methods",
        )
        budgets = gr.Textbox(BUDGETS, label="Budgets", elem_id="sweep-budgets", max_lines=1)
        seeds = gr.Number(SEEDS, precision=0, minimum=1, maximum=20, label="Draws of random", elem_id="sweep-seeds")
        with gr.Column(elem_id="sweep-buttons"):
            run = gr.Button("Run sweep", variant="primary", elem_id="sweep-run")
            cancel = gr.Button("Cancel", interactive=False, elem_id="sweep-cancel")
    progress = gr.HTML(elem_id="sweep-progress", apply_default_css=False)
    table = gr.HTML(elem_id="sweep-table", apply_default_css=False)
    with gr.Row(elem_id="sweep-charts"):
        agreement = chart_card("sweep-agreement", "Agreement", "with the full answer")
        spent = chart_card("sweep-spent", "Selection and prefill", "milliseconds")
        gr.HTML(legend(), elem_id="sweep-legend", apply_default_css=False)
    shown = list(Shown(progress, table, agreement, spent, run, cancel))

    swept = run.click(handlers.begin, state, shown, **AT_ONCE).then(
        partial(handlers.sweep, registry),
        [comparison.picture, comparison.question, state, methods, budgets, seeds, *comparison.options],
        shown,
        concurrency_id="device",
        concurrency_limit=1,
        **HIDDEN,
    )
    swept.failure(handlers.refused, state, shown, **AT_ONCE)
    cancel.click(handlers.cancel, state, shown, **AT_ONCE)
    cancel.click(None, cancels=swept, api_visibility="private")
