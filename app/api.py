"""The page's endpoints for programs that ask one question: both answers, or one, in the words of the command line."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from app import asking
from app.endpoints import DEVICE, OPTIONS, endpoint, options_of
from app.picture import picture
from app.registry import Registry

Both = tuple[str, str, dict[str, Any] | None]
One = tuple[str, dict[str, Any] | None]


def compare(registry: Registry, image: str, question: str, *options: Any) -> Iterator[Both]:
    """Answer a question about a picture twice: with all visual tokens, and with those that ResPrune keeps. Streams both
    answers as they grow; the figures come with the last message.
    """
    texts, answers = {"full": "", "pruned": ""}, {}
    for update in _updates(registry, image, question, options_of(*options), "compare"):
        if update:
            texts[update.side], answers[update.side] = update.text, update.answer
        yield texts["full"], texts["pruned"], None
    figures = {side: answer.as_dict() for side, answer in answers.items()}
    yield texts["full"], texts["pruned"], figures | {"same_answer": texts["full"] == texts["pruned"]}


def answer(registry: Registry, image: str, question: str, *options: Any) -> Iterator[One]:
    """Answer a question about a picture once, with the visual tokens that are kept; keep="100%" keeps all. Streams the
    answer as it grows; the figures come with the last message.
    """
    update = None
    for update in _updates(registry, image, question, options_of(*options), "answer"):
        yield update.text if update else "", None
    yield update.text, update.answer.as_dict()


def _updates(registry: Registry, image: str, question: str, options: asking.Options, ask: str) -> Iterator[Any]:
    """The updates of ``resprune.compare.compare`` or ``answer``; ``None`` while the model is not there yet.

    Raises:
        InputError, Refused: if the request cannot be served.
    """
    stop = threading.Event()
    try:
        asking.needed(image)
        for _ in registry.wait(stop):
            yield None
        with asking.request(registry, image, question, options, stop) as request:
            yield from request.updates() if ask == "compare" else _once(request)
    finally:
        stop.set()


def _once(request: asking.Request) -> Iterator[Any]:
    """The updates of the pruned side alone."""
    from resprune.compare import answer

    options = {"max_new_tokens": request.options.max_new_tokens, "stop": request.stop}
    yield from asking.paced(request.lent.run(answer, request.opened, request.question, request.settings, **options))


def add(registry: Registry) -> None:
    """Add the endpoints to the page that is being built. Their components are not shown: they name their values."""
    with gr.Column(visible=False):
        image, question = picture(), gr.Textbox(label="Question")
        options = [build() for build in OPTIONS]
        full = gr.Textbox(label="Answer with all visual tokens")
        pruned = gr.Textbox(label="Answer with the kept tokens")
        both = gr.JSON(label="Figures of both sides, as the command line's compare --json prints them")
        one = gr.JSON(label="Figures, as the command line's answer --json prints them")
    given = [image, question, *options]
    endpoint("compare", partial(compare, registry), given, [full, pruned, both], **DEVICE)
    endpoint("answer", partial(answer, registry), given, [pruned, one], **DEVICE)
