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
from resprune.layouts.base import Encoded, Layout, Made, Size, View, grid, is_a, needed, told, whole

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
    return isqrt(told(of, "image_seq_length") if is_a(of, "ProcessorMixin") else of.config.image_seq_length)


def _idefics_side(of: PreTrainedModel | ProcessorMixin) -> int:
    if is_a(of, "ProcessorMixin"):
        return isqrt(told(of, "image_seq_len"))
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


def _internvl_token(model: PreTrainedModel) -> int:
    """Pixels along a token."""
    patch = model.config.vision_config.patch_size
    return round((patch if isinstance(patch, int) else patch[0]) / model.config.downsample_ratio)


def _idefics_token(model: PreTrainedModel) -> int:
    return model.config.vision_config.patch_size * model.config.scale_factor


def unnamed(ids: list[int], image_token: int, frame: int) -> list[int]:
    """A prompt without its tiles: their image tokens, and what stands in front of each from its frame on, its name."""
    left: list[int] = []
    for token, before in zip(ids, [None, *ids], strict=False):
        if token != image_token:
            left.append(token)
        elif before != image_token and frame in left:
            del left[len(left) - 1 - left[::-1].index(frame) :]
    return left


def _tile_views(image_size: Size, rows: int, cols: int, side: int, share: float) -> dict[int, View]:
    """The picture stretched over ``rows`` x ``cols`` tiles, and whole; tokens show a ``share`` of each tile's sides."""
    views = {0: whole(image_size, side, side, share)}
    if rows * cols > 1:
        width, height = image_size[0] / cols, image_size[1] / rows
        for tile in range(rows * cols):
            row, col = divmod(tile, cols)
            left, top = col * width, row * height
            views[1 + tile] = View.even((left, top, left + share * width, top + share * height), side, side)
    return views


def _tiles(made: Made) -> int | None:
    """Into how many tiles a picture was cut, 0 where it is seen only whole; ``None`` where only the processor tells."""
    return None if made.shapes is None else len(made.shapes) - 1


def _internvl_views(processor: ProcessorMixin, image_size: Size, made: Made) -> dict[int, View]:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    images, (width, height) = processor.image_processor, image_size
    tile, side, tiles = (images.size["height"], images.size["width"]), _internvl_side(processor), _tiles(made)
    # What fits best among few and many is the best among as many as there are.
    least, most = (images.min_patches, images.max_patches) if tiles is None else (max(tiles, 1),) * 2
    cols, rows = get_optimal_tiled_canvas((height, width), tile, least, most)
    return _tile_views(image_size, rows, cols, side, made.covered(tile[0], side) / tile[0])


def _idefics_views(processor: ProcessorMixin, image_size: Size, made: Made) -> dict[int, View]:
    side, edge = _idefics_side(processor), processor.image_processor.max_image_size["longest_edge"]
    rows, cols = _idefics_tiles(processor, image_size, edge, _tiles(made))
    return _tile_views(image_size, rows, cols, side, made.covered(edge, side) / edge)


def _idefics_tiles(processor: ProcessorMixin, image_size: Size, edge: int, tiles: int | None) -> Size:
    """Rows and columns of tiles of so many pixels along an edge; (0, 0) where no such picture is cut into ``tiles``."""
    if tiles == 0:
        return 0, 0
    # Three resizes and their roundings lead to the number of tiles; nobody counts them as the processor itself does.
    blank = np.zeros((image_size[1], image_size[0], 3), np.uint8)
    counted = processor.image_processor(blank, return_row_col_info=True)
    rows, cols = counted["rows"][0][0], counted["cols"][0][0]
    return (rows, cols) if tiles in (None, rows * cols) else _arranged(image_size, edge, tiles)


def _arranged(image_size: Size, edge: int, tiles: int) -> Size:
    """Rows and columns where a call said how large a picture is made: the one arrangement that has its shape.

    The longer side is so many tiles, the shorter one as many as it needs; roundings move it by up to 3 pixels.
    """
    shape, slack = min(image_size) / max(image_size), 3 / edge
    for long in range(1, tiles + 1):
        short, over = divmod(tiles, long)
        if not over and short - 1 - slack < long * shape < short + slack:
            return (short, long) if image_size[0] >= image_size[1] else (long, short)
    return 0, 0


def _geometry(of: PreTrainedModel | ProcessorMixin, side: Callable[[Any], int]) -> str:
    return f"{side(of)} x {side(of)} tokens of a tile"


def _idefics(name: str) -> Layout:
    return Layout(
        f"{name}ForConditionalGeneration",
        f"{name}Processor",
        geometry=partial(_geometry, side=_idefics_side),
        coords=_by_tile,
        views=_idefics_views,
        token=_idefics_token,
    )


LAYOUTS = {
    "internvl": Layout(
        "InternVLForConditionalGeneration",
        "InternVLProcessor",
        geometry=partial(_geometry, side=_internvl_side),
        coords=_by_image,
        views=_internvl_views,
        token=_internvl_token,
    ),
    "idefics3": _idefics("Idefics3"),
    "smolvlm": _idefics("SmolVLM"),
}
