"""Families that put the tiles of a picture together again into one large view: LLaVA-NeXT, LLaVA-OneVision.

Tile 0 is the whole picture at the vision tower's size. Tile 1 is the large view, after the model has cut its padding
off and, where OneVision finds it too large, shrunk it; a newline ends each of its rows. Where a prompt of OneVision has
several pictures, each is seen once, padded to a square: tile 2.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resprune.layouts.base import STRUCTURAL, Encoded, Layout, Made, Size, View, grid, is_a, needed, told, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    Options = Callable[[PreTrainedModel, Mapping[str, Any]], dict[str, Any]]


WHOLE, LARGE, SQUARE = 0, 1, 2


def _next_side(of: PreTrainedModel | ProcessorMixin) -> int:
    """Patches along a tile."""
    return _tile_pixels(of) // told(of, "patch_size") if is_a(of, "ProcessorMixin") else _model_side(of)


def _onevision_side(of: PreTrainedModel | ProcessorMixin) -> int:
    return isqrt(told(of, "num_image_tokens")) if is_a(of, "ProcessorMixin") else _model_side(of)


def _model_side(model: PreTrainedModel) -> int:
    vision = model.config.vision_config
    return vision.image_size // vision.patch_size


def _patch(model: PreTrainedModel) -> int:
    """Pixels along a token."""
    return model.config.vision_config.patch_size


def _tile_pixels(processor: ProcessorMixin) -> int:
    """Pixels along a tile, found as the image processors find it."""
    images = processor.image_processor
    return next(n for s in (images.crop_size, images.size) if s for n in (s.height, s.shortest_edge) if n)


def _geometry(of: PreTrainedModel | ProcessorMixin, side: Callable[[Any], int]) -> str:
    arranged = of.image_processor if is_a(of, "ProcessorMixin") else of.config
    return f"{side(of)} x {side(of)} patches of a tile and large views of {arranged.image_grid_pinpoints} pixels"


def _next_options(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's ``pack_image_features`` takes beside the features; there is no CLS among coordinates."""
    return {"vision_feature_select_strategy": "default"}


def _onevision_options(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"vision_aspect_ratio": inputs.get("vision_aspect_ratio") or model.config.vision_aspect_ratio}


def _coords(model: PreTrainedModel, _: Encoded, inputs: Mapping[str, Any], options: Options) -> list[torch.Tensor]:
    """Send coordinates in place of features through the model's own packing: where they end up is exact."""
    sizes, side = needed(inputs, "image_sizes"), _model_side(model)
    counts = inputs.get("batch_num_images")
    together = [False] * len(sizes)
    if counts is not None:
        together = [int(count) > 1 for count in counts for _ in range(int(count))]
    base, config = model.base_model, model.config
    shape_of = inspect.getmodule(type(base)).get_anyres_image_grid_shape
    tiles = []
    for size, with_others in zip(sizes, together, strict=True):
        if with_others:
            tiles.append(grid(side, side, SQUARE)[None])
            continue
        rows, cols = shape_of(size, config.image_grid_pinpoints, config.vision_config.image_size)
        large = grid(rows * side, cols * side, LARGE).reshape(rows, side, cols, side, 3).transpose(1, 2)
        tiles.append(torch.cat([grid(side, side)[None], large.reshape(-1, side * side, 3)]))
    newline = torch.full((3,), float(STRUCTURAL), dtype=torch.float32, device="cpu")
    packed, _ = base.pack_image_features(
        [places.float() for places in tiles], sizes, image_newline=newline, **options(model, inputs)
    )
    return [_counted(places) for places in packed]


def _counted(packed: torch.Tensor) -> torch.Tensor:
    """``[n, 3]`` int64: rows and columns of the large view counted from 0, which padding cut off and shrinking move."""
    places = packed.round().long()
    large = places[:, 0] == LARGE
    for axis in (1, 2):
        # Shrinking gives rows that lie between those of the tiles, but never two within less than one of each other.
        places[large, axis] = packed[large, axis].round(decimals=2).unique(return_inverse=True)[1]
    return places


def _large_view(processor: ProcessorMixin, image_size: Size, side: int, patch: int) -> View:
    """All tiles as one, each of ``side`` x ``side`` patches of so many pixels, without the padding around them."""
    from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
    from transformers.image_utils import ChannelDimension
    from transformers.models.llava_next.modeling_llava_next import unpad_image

    width, height = image_size
    canvas = select_best_resolution((height, width), processor.image_processor.image_grid_pinpoints)
    picture = np.broadcast_to(np.uint8(0), (height, width, 3))  # of no memory: only its shape is read
    resized = get_patch_output_size(picture, canvas, ChannelDimension.LAST)
    pixels = _tile_pixels(processor)
    padded = [n // pixels * side for n in canvas]
    seen = unpad_image(torch.empty(1, *padded, device="cpu"), (height, width)).shape[1:]
    lines = []
    for old, new, full, before, after in zip((height, width), resized, canvas, padded, seen, strict=True):
        place = (before - after) // 2 + torch.arange(after, dtype=torch.float64, device="cpu")
        # A tile ends with pixels that no patch shows, where patches do not divide it.
        start = place.div(side, rounding_mode="floor") * pixels + place % side * patch - (full - new) // 2
        lines.append(torch.stack([start, start + patch], dim=1) * old / new)
    return View(*lines)


def _next_views(processor: ProcessorMixin, image_size: Size, _: Made) -> dict[int, View]:
    side, patch, pixels = _next_side(processor), told(processor, "patch_size"), _tile_pixels(processor)
    return {
        WHOLE: whole(image_size, side, side, side * patch / pixels),
        LARGE: _large_view(processor, image_size, side, patch),
    }


def _onevision_views(processor: ProcessorMixin, image_size: Size, made: Made) -> dict[int, View]:
    side, pixels, (width, height) = _onevision_side(processor), _tile_pixels(processor), image_size
    covered = made.covered(pixels, side)
    large = _large_view(processor, image_size, side, covered // side)
    most = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
    longest = max(image_size)
    left, top, length = -((longest - width) // 2), -((longest - height) // 2), covered / pixels * longest
    return {
        WHOLE: whole(image_size, side, side, covered / pixels),
        LARGE: _shrunk(large, side, most, made.shapes),
        SQUARE: View.even((left, top, left + length, top + length), side, side),
    }


def _shrunk(large: View, side: int, most: int, shapes: Mapping[int, Size] | None) -> View:
    """A large view as a model has it that allows ``most`` tiles, or as many as a call made of it."""
    wanted = shapes and shapes.get(LARGE)
    rows, cols = large.shape
    for allowed in (most, *(range(1, rows * cols // side**2 + 1) if wanted else ())):
        ratio = sqrt(rows * cols / (allowed * side**2))
        shape = (int(rows // ratio), int(cols // ratio)) if ratio > 1.1 else (rows, cols)  # as the model has it
        if wanted in (None, shape):
            return View(_joined(large.rows, shape[0]), _joined(large.cols, shape[1]))
    return large


def _joined(lines: torch.Tensor, count: int) -> torch.Tensor:
    """``[count, 2]``: rows, or columns, ``[n, 2]`` made fewer, each over its share of them and of the gaps between."""
    ends = len(lines) * torch.arange(count + 1, dtype=torch.float64, device="cpu") / count
    low, high = ends[:-1], ends[1:]
    first, last = low.floor().long(), (high.ceil().long() - 1)
    start, end = lines[first], lines[last]
    return torch.stack(
        [
            start[:, 0] + (low - first) * (start[:, 1] - start[:, 0]),
            end[:, 0] + (high - last) * (end[:, 1] - end[:, 0]),
        ],
        dim=1,
    )


LAYOUTS = {
    "llava_next": Layout(
        "LlavaNextForConditionalGeneration",
        "LlavaNextProcessor",
        geometry=partial(_geometry, side=_next_side),
        coords=partial(_coords, options=_next_options),
        views=_next_views,
    ),
    "llava_onevision": Layout(
        "LlavaOnevisionForConditionalGeneration",
        "LlavaOnevisionProcessor",
        geometry=partial(_geometry, side=_onevision_side),
        coords=partial(_coords, options=_onevision_options),
        views=_onevision_views,
        token=_patch,
    ),
}
