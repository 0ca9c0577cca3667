"""The page's public endpoint: the comparison for programs, in the words of the command line."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from app import asking
from app.failures import report
from app.picture import picture
from app.registry import Registry

Answers = tuple[str, str, dict[str, Any] | None]
DESCRIPTION = (
    "Answer a question about a picture twice: with all visual tokens, and with those that ResPrune keeps. Streams both "
    "answers as they grow; the figures come with the last message."
)


def compare(registry: Registry, image: str, question: str, keep: str) -> Iterator[Answers]:
    """Both answers so far, and the figures of both once they are done.

    Raises:
        gr.Error: with a sentence for the user, if the request cannot be served.
    """
    stop = threading.Event()
    texts, answers = {"full": "", "pruned": ""}, {}
    try:
        asking.needed(image)
        for _ in registry.wait(stop):
            yield "", "", None
        for update, _ in asking.updates(registry, image, question, asking.Options(keep), stop):
            texts[update.side], answers[update.side] = update.text, update.answer
            yield texts["full"], texts["pruned"], None
        same = answers["full"].answer == answers["pruned"].answer
        figures = {side: answer.as_dict() for side, answer in answers.items()}
        yield texts["full"], texts["pruned"], figures | {"same_answer": same}
    except Exception as error:
        raise gr.Error(report(error), print_exception=False) from error
    finally:
        stop.set()


def add(registry: Registry) -> None:
    """Add the endpoint to the page that is being built. Its components are not shown: they name its values."""
    with gr.Column(visible=False):
        image = picture()
        question = gr.Textbox(label="Question")
        keep = gr.Textbox("128", label="Budget: tokens such as 128, or a share such as 22% or 0.22")
        full = gr.Textbox(label="Answer with all visual tokens")
        pruned = gr.Textbox(label="Answer with the kept tokens")
        figures = gr.JSON(label="Figures of both sides, as the command line's compare --json prints them")
    gr.on(
        [],
        partial(compare, registry),
        [image, question, keep],
        [full, pruned, figures],
        api_name="compare",
        api_description=DESCRIPTION,
        concurrency_id="device",
        concurrency_limit=1,
    )
