"""What a family of models says of itself, and the pieces that families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from resprune.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


STRUCTURAL = -1  # in place of a tile: tokens that lie nowhere in the picture, such as CLS and newlines

Encoded = Sequence[torch.Tensor] | torch.Tensor


@dataclass(frozen=True)
class View:
    """A part of a picture that a model sees as one grid of tokens.

    Attributes:
        box: ``(x0, y0, x1, y1)`` of the grid in pixels of the picture; padding lies outside the picture.
        rows, cols: of tokens.
    """

    box: tuple[float, float, float, float]
    rows: int
    cols: int


@dataclass(frozen=True)
class Layout:
    """One family of models.

    Attributes:
        model: name of its class in transformers.
        processor: name of its processor's class.
        geometry: what a model, and a processor, make of an image, in words; the two agree where they belong together.
        coords: ``(model, pooler_output, inputs) -> [[n, 3] int64, ...]``, one tensor an image: ``(tile, row, col)`` of
            each of its visual tokens, in the order of the prompt. ``pooler_output`` is what the model's
            ``get_image_features`` returns, ``inputs`` what the processor made. Tile 0 is the whole picture, others
            show it in more detail; :data:`STRUCTURAL` marks a token that is never a candidate and always stays.
        views: ``(processor, (width, height)) -> {tile: View}`` of a picture of that size in pixels.
    """

    model: str
    processor: str
    geometry: Callable[[PreTrainedModel | ProcessorMixin], str]
    coords: Callable[[PreTrainedModel, Encoded, Mapping[str, Any]], list[torch.Tensor]]
    views: Callable[[ProcessorMixin, tuple[int, int]], dict[int, View]]


def is_a(thing: object, name: str) -> bool:
    """Whether a class of that name made ``thing``; by name, so that no family's modules load before it is used."""
    return any(cls.__name__ == name for cls in type(thing).__mro__)


def grid(rows: int, cols: int, tile: int = 0) -> torch.Tensor:
    """``[rows * cols, 3]`` int64, the coordinates of one grid, row by row."""
    row, col = torch.meshgrid(torch.arange(rows, device="cpu"), torch.arange(cols, device="cpu"), indexing="ij")
    return torch.stack([torch.full_like(row, tile), row, col], dim=-1).reshape(-1, 3)


def whole(image_size: tuple[int, int], rows: int, cols: int) -> View:
    """A view of all of a picture, however it was stretched."""
    return View((0, 0, *image_size), rows, cols)


def needed(inputs: Mapping[str, Any], name: str) -> torch.Tensor:
    """An input without which nobody can say where tokens lie.

    Raises:
        InputError: if it is missing.
    """
    if inputs.get(name) is None:
        raise InputError(f"The inputs have no {name}; give all that the processor made of the images.")
    return torch.as_tensor(inputs[name], device="cpu")
