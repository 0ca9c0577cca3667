"""Where each visual token lies, per model family: the only code that knows one family from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from resprune.errors import InputError
from resprune.layouts import anyres, flexible, single, tiled
from resprune.layouts.base import Layout, View, is_a

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


__all__ = ["LAYOUTS", "Layout", "View", "boxes", "check_processor", "image_token_of", "is_a", "layout_of"]

LAYOUTS: dict[str, Layout] = single.LAYOUTS | anyres.LAYOUTS | flexible.LAYOUTS | tiled.LAYOUTS
"""Families that can be pruned, by ``model.config.model_type``."""


def layout_of(model: PreTrainedModel) -> Layout:
    """The layout of a model's family.

    Raises:
        InputError: if the family has none, or ``model`` is not its class for generation.
    """
    family = getattr(getattr(model, "config", None), "model_type", None)
    layout = LAYOUTS.get(family)
    if layout is None or not is_a(model, layout.model):
        supported = ", ".join(entry.model for entry in LAYOUTS.values())
        raise InputError(f"A {type(model).__name__} cannot be pruned; give one of these models: {supported}.")
    return layout


def image_token_of(processor: ProcessorMixin) -> int:
    """The token that stands for one visual token in a prompt."""
    # Gemma 3 calls the token that starts an image by this name; its tokenizer knows better.
    return getattr(processor.tokenizer, "image_token_id", None) or processor.image_token_id


def check_processor(model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a processor that was not made for ``model``.

    Raises:
        InputError: if its class, its image token, its vocabulary or what it makes of an image is another.
    """
    layout = layout_of(model)
    if not is_a(processor, layout.processor):
        raise InputError(f"A {layout.model} needs its {layout.processor}, not a {type(processor).__name__}.")
    vocabulary = model.get_input_embeddings().num_embeddings
    if image_token_of(processor) != model.config.image_token_id or len(processor.tokenizer) > vocabulary:
        raise InputError("The processor's vocabulary is not that of the model; load both from the same checkpoint.")
    made, wanted = layout.geometry(processor), layout.geometry(model)
    if made != wanted:
        raise InputError(f"The processor makes {made} and the model {wanted}; load both from the same checkpoint.")


def boxes(processor: ProcessorMixin, image_size: tuple[int, int], coords: torch.Tensor) -> torch.Tensor:
    """Where patches lie in the picture as its owner sees it, before it was resized, padded, cropped and tiled.

    Args:
        processor: of a supported family.
        image_size: (width, height) of the picture in pixels, as in ``PIL.Image.Image.size``.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each patch.

    Returns:
        ``[N, 4]`` float32, ``(x0, y0, x1, y1)`` of each patch in pixels of that picture. A patch of the padding around
        a picture lies outside it.

    Raises:
        InputError: if the processor is of no supported family, or makes no such tile of such a picture.
    """
    layout = next((layout for layout in LAYOUTS.values() if is_a(processor, layout.processor)), None)
    if layout is None:
        raise InputError(f"The patches of a {type(processor).__name__} are not known.")
    views = layout.views(processor, image_size)
    missing = set(coords[:, 0].tolist()) - views.keys()
    if missing:
        raise InputError(
            f"A picture of {image_size[0]} x {image_size[1]} pixels has no tile {min(missing)}; "
            "give the coordinates of its own tokens."
        )
    corners = coords.new_zeros(len(coords), 4, dtype=torch.float64)
    for tile, view in views.items():
        here = coords[:, 0] == tile
        row, col = coords[here, 1].double(), coords[here, 2].double()
        x0, y0, x1, y1 = view.box
        width, height = (x1 - x0) / view.cols, (y1 - y0) / view.rows
        edges = [x0 + col * width, y0 + row * height, x0 + (col + 1) * width, y0 + (row + 1) * height]
        corners[here] = torch.stack(edges, dim=1)
    return corners.float()
