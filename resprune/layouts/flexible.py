"""Families that see each image once, at nearly its own size: Qwen-VL, GLM-4V, Mistral 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resprune.layouts.base import Encoded, Layout, Made, Size, View, grid, is_a, needed, told, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    Pixels = Callable[[ProcessorMixin, tuple[int, int]], tuple[int, int]]
    Merging = Callable[[PreTrainedModel | ProcessorMixin], tuple[int, int]]


def _qwen_pixels(processor: ProcessorMixin, image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a picture after resizing."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    images, (width, height) = processor.image_processor, image_size
    side = images.patch_size * images.merge_size
    return smart_resize(height, width, side, images.size["shortest_edge"], images.size["longest_edge"])


def _glm_pixels(processor: ProcessorMixin, image_size: tuple[int, int]) -> tuple[int, int]:
    from transformers.models.glm4v.image_processing_glm4v import smart_resize

    images, (width, height) = processor.image_processor, image_size
    side, frames = images.patch_size * images.merge_size, images.temporal_patch_size
    size = images.size
    return smart_resize(frames, height, width, frames, side, size["shortest_edge"], size["longest_edge"])


def _pixtral_pixels(processor: ProcessorMixin, image_size: tuple[int, int]) -> tuple[int, int]:
    from transformers.models.pixtral.image_processing_pixtral import get_resize_output_image_size

    images, (width, height) = processor.image_processor, image_size
    size = images.size
    limit = (size.longest_edge,) * 2 if size.longest_edge else (size.height, size.width)
    picture = np.broadcast_to(np.uint8(0), (height, width, 3))  # of no memory: only its shape is read
    return get_resize_output_image_size(picture, limit, processor.patch_size * processor.spatial_merge_size)


def _merged(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    """Pixels along a patch, and patches along a token."""
    side = of.image_processor if is_a(of, "ProcessorMixin") else of.config.vision_config
    return side.patch_size, side.merge_size if is_a(of, "ProcessorMixin") else side.spatial_merge_size


def _pixtral(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    if is_a(of, "ProcessorMixin"):
        return told(of, "patch_size"), told(of, "spatial_merge_size")
    return of.config.vision_config.patch_size, of.config.spatial_merge_size


def _by_patches(model: PreTrainedModel, _: Encoded, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    merge = _merged(model)[1]
    return [grid(rows // merge, cols // merge) for _, rows, cols in needed(inputs, "image_grid_thw").tolist()]


def _by_pixels(model: PreTrainedModel, _: Encoded, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    patch, merge = _pixtral(model)
    sizes = needed(inputs, "image_sizes") // (patch * merge)
    return [grid(rows, cols) for rows, cols in sizes.tolist()]


def _geometry(of: PreTrainedModel | ProcessorMixin, merging: Merging) -> str:
    patch, merge = merging(of)
    return f"tokens of {merge} x {merge} patches of {patch} pixels"


def _views(
    processor: ProcessorMixin, image_size: Size, made: Made, pixels: Pixels, merging: Merging
) -> dict[int, View]:
    """The picture, stretched over the grid that was made of it: how large that is, each call may say anew.

    There is no view where the grid has the shape of another picture.
    """
    if made.shapes is not None:
        return {0: whole(image_size, *made.shapes[0])} if _fits(image_size, *made.shapes[0]) else {}
    patch, merge = merging(processor)
    height, width = pixels(processor, image_size)
    return {0: whole(image_size, height // (patch * merge), width // (patch * merge))}


def _fits(image_size: Size, rows: int, cols: int) -> bool:
    """Whether a grid has the shape of a picture, of which each direction was rounded to whole tokens, up or down."""
    width, height = image_size
    return (rows - 1) * width <= (cols + 1) * height and (cols - 1) * height <= (rows + 1) * width


def _layout(name: str, processor: str, pixels: Pixels) -> Layout:
    """A family that tells its grids in ``image_grid_thw``."""
    return Layout(
        f"{name}ForConditionalGeneration",
        processor,
        geometry=partial(_geometry, merging=_merged),
        coords=_by_patches,
        views=partial(_views, pixels=pixels, merging=_merged),
    )


LAYOUTS = {
    "qwen2_vl": _layout("Qwen2VL", "Qwen2VLProcessor", _qwen_pixels),
    "qwen2_5_vl": _layout("Qwen2_5_VL", "Qwen2_5_VLProcessor", _qwen_pixels),
    "qwen3_vl": _layout("Qwen3VL", "Qwen3VLProcessor", _qwen_pixels),
    "glm4v": _layout("Glm4v", "Glm4vProcessor", _glm_pixels),
    "mistral3": Layout(
        "Mistral3ForConditionalGeneration",
        "PixtralProcessor",
        geometry=partial(_geometry, merging=_pixtral),
        coords=_by_pixels,
        views=partial(_views, pixels=_pixtral_pixels, merging=_pixtral),
    ),
}
