"""Where each visual token lies, per model family: the only code that knows one family from another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.errors import InputError


@dataclass(frozen=True)
class Layout:
    """One family of models.

    Attributes:
        model: name of its class in transformers.
        processor: name of its processor's class.
        grid: rows and columns of patches that a model, and a processor, make of one view of an image; the two agree
            where they belong together.
        coords: ``(model, features, inputs) -> [[N, 3] int64, ...]``, one tensor an image: ``(tile, row, col)`` of each
            row of ``features``, in their order. Tile 0 is the whole picture; a tile of -1 marks a structural token
            (CLS, newline), which is never a candidate and always stays.
        boxes: ``(processor, (width, height), coords) -> [N, 4]``, see :func:`boxes`.
    """

    model: str
    processor: str
    grid: Callable[[PreTrainedModel | ProcessorMixin], tuple[int, int]]
    coords: Callable[[PreTrainedModel, Sequence[torch.Tensor], Mapping[str, Any]], list[torch.Tensor]]
    boxes: Callable[[ProcessorMixin, tuple[int, int], torch.Tensor], torch.Tensor]


def layout_of(model: PreTrainedModel) -> Layout:
    """The layout of a model's family.

    Raises:
        InputError: if the family has none, or ``model`` is not its class for generation.
    """
    family = getattr(getattr(model, "config", None), "model_type", None)
    layout = LAYOUTS.get(family)
    if layout is None or not _is_a(model, layout.model):
        supported = ", ".join(entry.model for entry in LAYOUTS.values())
        raise InputError(f"A {type(model).__name__} cannot be pruned; give one of these models: {supported}.")
    return layout


def check_processor(model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a processor that was not made for ``model``.

    Raises:
        InputError: if its class, its image token, its vocabulary or its grid of patches is another.
    """
    layout = layout_of(model)
    if not _is_a(processor, layout.processor):
        raise InputError(f"A {layout.model} needs its {layout.processor}, not a {type(processor).__name__}.")
    vocabulary = model.get_input_embeddings().num_embeddings
    if processor.image_token_id != model.config.image_token_id or len(processor.tokenizer) > vocabulary:
        raise InputError("The processor's vocabulary is not that of the model; load both from the same checkpoint.")
    if layout.grid(processor) != layout.grid(model):
        rows, cols = layout.grid(processor)
        raise InputError(
            f"The processor makes {rows} x {cols} patches of an image and the model "
            f"{' x '.join(map(str, layout.grid(model)))}; load both from the same checkpoint."
        )


def boxes(processor: ProcessorMixin, image_size: tuple[int, int], coords: torch.Tensor) -> torch.Tensor:
    """Where patches lie in the picture as its owner sees it, before it was resized and cropped.

    Args:
        processor: of a supported family.
        image_size: (width, height) of the picture in pixels, as in ``PIL.Image.Image.size``.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each patch.

    Returns:
        ``[N, 4]`` float32, ``(x0, y0, x1, y1)`` of each patch in pixels of that picture. A patch of the padding around
        a picture lies outside it.

    Raises:
        InputError: if the processor is of no supported family.
    """
    for layout in LAYOUTS.values():
        if _is_a(processor, layout.processor):
            return layout.boxes(processor, image_size, coords)
    raise InputError(f"The patches of a {type(processor).__name__} are not known.")


def _is_a(thing: object, name: str) -> bool:
    """Whether a class of that name made ``thing``; by name, so that no family's modules load before it is used."""
    return any(cls.__name__ == name for cls in type(thing).__mro__)


def _view(processor: ProcessorMixin) -> tuple[int, int]:
    """Width and height in pixels of what the vision tower sees of an image."""
    images = processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    return size["width"], size["height"]


def _square_grid(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    """Rows and columns where a vision tower sees each image once, at one fixed size."""
    if isinstance(of, ProcessorMixin):
        width, height = _view(of)
        return height // of.patch_size, width // of.patch_size
    vision = of.config.vision_config
    return (vision.image_size // vision.patch_size,) * 2


def _one_view(model: PreTrainedModel, features: Sequence[torch.Tensor], _: Mapping[str, Any]) -> list[torch.Tensor]:
    """One grid an image, row by row; what is more than the grid is the CLS token in front."""
    rows, cols = _square_grid(model)
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    grid = torch.stack([torch.zeros_like(row), row, col], dim=-1).reshape(-1, 3)
    return [torch.cat([grid.new_full((max(0, len(f) - len(grid)), 3), -1), grid]) for f in features]


def _crop_boxes(processor: ProcessorMixin, image_size: tuple[int, int], coords: torch.Tensor) -> torch.Tensor:
    """Undo the preprocessing of CLIP (shortest edge resized to a length, centre cut out) and of SigLIP (resized)."""
    size, shortest = processor.image_processor.size, min(image_size)
    # The longer edge is rounded down, so the two directions are not scaled by quite the same factor.
    resized = (
        [int(size["shortest_edge"] * n / shortest) for n in image_size] if size.shortest_edge else _view(processor)
    )
    original, resized, view = (torch.tensor(pair) for pair in (image_size, resized, _view(processor)))
    corner = coords[:, [2, 1]] * processor.patch_size
    corners = torch.stack([corner, corner + processor.patch_size], dim=1)  # [N, 2, 2], (x, y) of two corners
    return ((corners + ((resized - view) / 2).trunc()) * original / resized).flatten(1)


LAYOUTS: dict[str, Layout] = {
    "llava": Layout(
        model="LlavaForConditionalGeneration",
        processor="LlavaProcessor",
        grid=_square_grid,
        coords=_one_view,
        boxes=_crop_boxes,
    ),
}
"""Families that can be pruned, by ``model.config.model_type``."""
