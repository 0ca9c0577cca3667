"""Families that see a picture whole and in tiles, each a run of tokens of its own: InternVL, Idefics3, SmolVLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resprune.errors import InputError
from resprune.layouts.base import Encoded, Layout, View, grid, is_a, needed, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


def _runs(ids: torch.Tensor, image_token: int) -> list[tuple[int, int]]:
    """First column and length of each run of image tokens in a row ``[S]`` of a prompt."""
    is_image = torch.nn.functional.pad((ids == image_token).int(), (1, 1))
    edges = is_image.diff().nonzero()[:, 0].tolist()
    return [(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _places(tiles: int, side: int) -> torch.Tensor:
    """``[tiles * side * side, 3]``: the tiles of a picture row by row, then the whole of it, which is tile 0."""
    return torch.cat([grid(side, side, tile) for tile in [*range(1, tiles), 0]])


def _internvl_side(of: PreTrainedModel | ProcessorMixin) -> int:
    """Tokens along a tile."""
    return isqrt(of.image_seq_length if is_a(of, "ProcessorMixin") else of.config.image_seq_length)


def _idefics_side(of: PreTrainedModel | ProcessorMixin) -> int:
    if is_a(of, "ProcessorMixin"):
        return isqrt(of.image_seq_len)
    vision = of.config.vision_config
    return vision.image_size // vision.patch_size // of.config.scale_factor


def _by_image(model: PreTrainedModel, _: Encoded, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """All tiles of an image stand in one run."""
    side = _internvl_side(model)
    rows = needed(inputs, "input_ids")
    return [_places(length // side**2, side) for row in rows for _, length in _runs(row, model.config.image_token_id)]


def _by_tile(model: PreTrainedModel, _: Encoded, inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Each tile of a picture is a run; pictures are told apart by the frames that the processor puts around them.

    A frame's token stands before each tile and once more behind the last, so that one lies between two tiles of a
    picture and two or more between two pictures. How the tiles are named beside it does not count: a tokenizer may
    have a token for each name, or spell it in any number of pieces.
    """
    side, images = _idefics_side(model), []
    for row in needed(inputs, "input_ids"):
        runs = _runs(row, model.config.image_token_id)
        if not runs:
            continue
        ends = [start + length for start, length in runs]
        whole, frame = ends[-1] < len(row), row[ends[-1] % len(row)]
        between = zip(ends, [start for start, _ in runs[1:]], strict=False)
        frames = [*(int((row[end:start] == frame).sum()) for end, start in between), 2]
        if not whole or 0 in frames or any(length != side**2 for _, length in runs):
            raise InputError(
                f"The prompt's image tokens are no tiles of {side**2} each between the tokens that the processor "
                "writes around them; do not truncate prompts, and leave them as the processor made them."
            )
        last = [tile for tile, count in enumerate(frames, 1) if count > 1]
        images += [_places(end - begin, side) for begin, end in pairwise([0, *last])]
    return images


def unnamed(ids: list[int], image_token: int, frame: int) -> list[int]:
    """A prompt without its tiles: their image tokens, and what stands in front of each from its frame on, its name."""
    left: list[int] = []
    for token, before in zip(ids, [None, *ids], strict=False):
        if token != image_token:
            left.append(token)
        elif before != image_token and frame in left:
            del left[len(left) - 1 - left[::-1].index(frame) :]
    return left


def _tile_views(image_size: tuple[int, int], rows: int, cols: int, side: int) -> dict[int, View]:
    """The picture stretched over ``rows`` x ``cols`` tiles, and whole."""
    width, height = image_size
    views = {0: whole(image_size, side, side)}
    if rows * cols > 1:
        for row in range(rows):
            for col in range(cols):
                box = (col * width / cols, row * height / rows, (col + 1) * width / cols, (row + 1) * height / rows)
                views[1 + row * cols + col] = View(box, side, side)
    return views


def _internvl_views(processor: ProcessorMixin, image_size: tuple[int, int]) -> dict[int, View]:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    images, (width, height) = processor.image_processor, image_size
    tile = (images.size["height"], images.size["width"])
    cols, rows = get_optimal_tiled_canvas((height, width), tile, images.min_patches, images.max_patches)
    return _tile_views(image_size, rows, cols, _internvl_side(processor))


def _idefics_views(processor: ProcessorMixin, image_size: tuple[int, int]) -> dict[int, View]:
    # Three resizes and their roundings lead to the number of tiles; nobody counts them as the processor itself does.
    blank = np.zeros((image_size[1], image_size[0], 3), np.uint8)
    counted = processor.image_processor(blank, return_row_col_info=True)
    return _tile_views(image_size, counted["rows"][0][0], counted["cols"][0][0], _idefics_side(processor))


def _geometry(of: PreTrainedModel | ProcessorMixin, side: Callable[[Any], int]) -> str:
    return f"{side(of)} x {side(of)} tokens of a tile"


def _idefics(name: str) -> Layout:
    return Layout(
        f"{name}ForConditionalGeneration",
        f"{name}Processor",
        geometry=partial(_geometry, side=_idefics_side),
        coords=_by_tile,
        views=_idefics_views,
    )


LAYOUTS = {
    "internvl": Layout(
        "InternVLForConditionalGeneration",
        "InternVLProcessor",
        geometry=partial(_geometry, side=_internvl_side),
        coords=_by_image,
        views=_internvl_views,
    ),
    "idefics3": _idefics("Idefics3"),
    "smolvlm": _idefics("SmolVLM"),
}
