"""What the handlers of all tabs share: an output that stays as it is, and the two buttons that start and stop."""

from typing import Any

import gradio as gr

SAME: Any = gr.skip()
WAITING = "Too many questions are waiting; {} again in a moment."


def buttons(start: str, stop: str, *, busy: bool) -> dict[str, Any]:
    """The two by their names: while something runs it can be stopped, and not be started again."""
    return {start: gr.update(interactive=not busy), stop: gr.update(interactive=busy)}
