"""The page as an MCP server: the tools ``answer`` and ``compare`` for programs that talk to a language model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from app import api
from app.endpoints import DEVICE, told
from app.picture import picture
from app.registry import Registry

PREFIX = "tool_"  # of the tools' endpoints, whose result is one text
LEFT_OUT = ("kept",)  # places of hundreds of tokens, which no conversation needs


def add(demo: gr.Blocks, registry: Registry) -> None:
    """Add the tools' endpoints to a page that is not served yet."""

    def answer(image: str, question: str, keep: str = "128", method: str = "resprune", mass: bool = False) -> str:
        """Answer a question about a picture with a vision-language model that reads only some of its visual tokens.

        Args:
            image: the picture, as a web address or a data: address.
            question: about the picture, in plain words.
            keep: how many visual tokens to keep: a number such as 128, a share such as 22%, or auto.
            method: how to choose them: resprune, a baseline such as random, uniform, divprune, cdpruner, or one with
                options, such as resprune:alpha=4.
            mass: whether a kept token carries the weight of those that it stands for.

        Returns:
            JSON: the answer, tokens kept and in all, the nouns that weighed them, times in ms, memory in bytes, notes.
        """
        *_, (_, figures) = api.answer(registry, image, question, keep, method, mass)
        return json.dumps(_brief(figures), ensure_ascii=False)

    def compare(image: str, question: str, keep: str = "128", method: str = "resprune", mass: bool = False) -> str:
        """Answer a question about a picture twice, with all of its visual tokens and with some, and tell what changed.

        Args:
            image: the picture, as a web address or a data: address.
            question: about the picture, in plain words.
            keep: how many visual tokens to keep: a number such as 128, a share such as 22%, or auto.
            method: how to choose them: resprune, a baseline such as random, uniform, divprune, cdpruner, or one with
                options, such as resprune:alpha=4.
            mass: whether a kept token carries the weight of those that it stands for.

        Returns:
            JSON: full and pruned, each as the tool answer gives it, and same_answer.
        """
        *_, (_, _, figures) = api.compare(registry, image, question, keep, method, mass)
        sides = {side: _brief(figures[side]) for side in ("full", "pruned")}
        return json.dumps(sides | {"same_answer": figures["same_answer"]}, ensure_ascii=False)

    with demo, gr.Column(visible=False):
        image, question = picture(), gr.Textbox(label="Question")
        keep, method = gr.Textbox("128", label="Budget"), gr.Textbox("resprune", label="Method")
        given = [image, question, keep, method, gr.Checkbox(False, label="Mass")]
        result = gr.Textbox(label="JSON")
        for tool in (answer, compare):
            gr.on([], told(tool), given, result, api_name=PREFIX + tool.__name__, **DEVICE)


@contextmanager
def alone(demo: gr.Blocks) -> Iterator[None]:
    """While ``demo`` is launched in this block, its MCP server takes the tools and none of the other endpoints.

    Raises:
        SystemExit: if there is no MCP server afterwards.
    """
    public = [fn for fn in demo.fns.values() if fn.api_visibility == "public"]
    others = [fn for fn in public if not str(fn.api_name).startswith(PREFIX)]
    for fn in others:
        fn.api_visibility = "undocumented"
    try:
        yield
    finally:
        for fn in others:
            fn.api_visibility = "public"
    if demo.mcp_server_obj is None:
        raise SystemExit(f"The MCP server could not be started. {demo.mcp_error or ''}".strip())


def _brief(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in LEFT_OUT}
