"""The header's right side: which model answers, what it takes, how far it is loaded."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app import panels
from app.failures import report
from app.registry import Registry

SHARED = "SPACE_ID"  # set on a Hugging Face Space, where one visitor must not change the model of all
WIDTHS = [("16 or 32 bits", ""), ("8 bits", "8bit"), ("4 bits", "4bit")]


MODEL, QUANTIZATION = "RESPRUNE_MODEL", "RESPRUNE_QUANTIZATION"  # of the environment: the model that is loaded first


def first_model() -> tuple[str, str | None]:
    """The first model and its quantisation, as :data:`MODEL` and :data:`QUANTIZATION` of the environment say.

    Raises:
        SystemExit: with a sentence for the operator, if there is no such model or quantisation.
    """
    model_id = os.environ.get(MODEL, "").strip() or "bundled"
    quantization = os.environ.get(QUANTIZATION, "").strip() or None
    widths = [width for _, width in WIDTHS if width]
    if quantization not in (None, *widths):
        raise SystemExit(f"{QUANTIZATION} is {quantization[:40]!r}; give {' or '.join(widths)}, or leave it out.")
    if Path(model_id).is_dir():
        if not Path(model_id, "config.json").is_file():
            raise SystemExit(f"{MODEL} is {model_id!r}, a folder without config.json; give one that holds a model.")
    elif model_id != "bundled":  # which is there, and the page need not wait for the library
        from resprune.errors import InputError
        from resprune.models import check_known

        try:
            check_known(model_id)
        except InputError as error:
            raise SystemExit(f"{MODEL}: {error}") from None
    return model_id, quantization


def build_model_choice(registry: Registry) -> tuple[gr.Dropdown, gr.HTML, gr.Dropdown]:
    """Build it inside the column that is open.

    Returns:
        The choice, the status, and the quantisation, which is to be rendered among the advanced settings.
    """
    fixed = SHARED in os.environ
    choice = gr.Dropdown(
        [registry.first],
        value=registry.first,
        label="Model",
        show_label=False,
        container=False,
        interactive=not fixed,
        elem_id="choice",
    )
    status = gr.HTML(elem_id="model", apply_default_css=False)
    quantization = gr.Dropdown(
        WIDTHS,
        value=registry.quantization or "",
        label="Language model in",
        interactive=not fixed,
        elem_id="quantization",
        render=False,
    )
    return choice, status, quantization


def wire(registry: Registry, demo: gr.Blocks, parts: tuple[gr.Dropdown, gr.HTML, gr.Dropdown]) -> None:
    """What happens when the page is opened, and when another model is chosen."""
    choice, status, quantization = parts
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    demo.load(partial(loading, registry), quantization, [status, choice], **hidden)
    gr.on(
        [choice.input, quantization.input],
        partial(choose, registry),
        [choice, quantization],
        [status, choice],
        **hidden,
    )


async def loading(registry: Registry, quantization: str = "") -> AsyncIterator[tuple[str, Any]]:
    """How far the model is loaded, until it is; then all that there are to choose from."""
    registry.start()
    while registry.busy:
        yield panels.model_status(registry), gr.skip()
        await asyncio.sleep(0.2)
    yield panels.model_status(registry), gr.update(choices=_choices(registry, quantization), value=registry.model_id)


async def choose(registry: Registry, model_id: str, quantization: str) -> AsyncIterator[tuple[str, Any]]:
    """Load another model; the one before answers until it is there."""
    from resprune.models import CATALOGUE

    if SHARED in os.environ or model_id not in (registry.first, *CATALOGUE):
        yield panels.message("This page cannot load that model; choose one from the list."), gr.skip()
        return
    try:
        registry.choose(model_id, quantization or None)
    except Exception as error:
        yield panels.message(report(error)), gr.skip()
        return
    async for shown in loading(registry, quantization):
        yield shown


def _choices(registry: Registry, quantization: str) -> list[tuple[str, str]]:
    """All models of the catalogue with the memory that they take, and the one that the page was started with."""
    from resprune.models import CATALOGUE

    sizes = {name: entry.weight_bytes(quantization or None) for name, entry in CATALOGUE.items()}
    listed = [(f"{name} · {panels.memory_of(size)}", name) for name, size in sizes.items()]
    return listed if registry.first in CATALOGUE else [(registry.first, registry.first), *listed]
