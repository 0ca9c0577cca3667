"""Sweep: every method at several budgets, on the picture and the question above."""

import gradio as gr

from app.comparison import Comparison
from app.registry import Registry


def build_sweep(registry: Registry, comparison: Comparison) -> None:
    """Build the tab inside the one that is open."""
    gr.HTML("<p>All methods and several budgets, on the picture and the question above.</p>", apply_default_css=False)
