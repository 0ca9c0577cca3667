"""Families whose vision tower sees each image once, at one fixed size: LLaVA-1.5, Gemma 3, PaliGemma."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch

from resprune.errors import InputError
from resprune.layouts.base import STRUCTURAL, Encoded, Layout, Made, Size, View, grid, is_a, told

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

    Shape = Callable[[PreTrainedModel | ProcessorMixin], tuple[int, int]]


_CROPS = "here are some crops to help you see better"  # what Gemma 3's processor writes in front of them
_NO_CROPS = "Where crops of a picture lie is not known; set do_pan_and_scan=False in the image processor and in calls."


def _canvas(processor: ProcessorMixin) -> tuple[int, int]:
    """Width and height in pixels of what the vision tower sees of an image."""
    images = processor.image_processor
    size = images.crop_size if images.do_center_crop else images.size
    return size["width"], size["height"]


def _patches(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    """Rows and columns where each patch is a token."""
    if is_a(of, "ProcessorMixin"):
        width, height = _canvas(of)
        patch = told(of, "patch_size")
        return height // patch, width // patch
    vision = of.config.vision_config
    return (vision.image_size // vision.patch_size,) * 2


def _pooled(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    """Rows and columns of Gemma 3, which pools its patches to a given number of tokens."""
    tokens = told(of, "image_seq_length") if is_a(of, "ProcessorMixin") else of.config.mm_tokens_per_image
    return (isqrt(tokens),) * 2


def _counted(of: PreTrainedModel | ProcessorMixin) -> tuple[int, int]:
    """Rows and columns of PaliGemma, whose processor knows no patches, only how many tokens they are."""
    return (isqrt(told(of, "image_seq_length")),) * 2 if is_a(of, "ProcessorMixin") else _patches(of)


def _patch(model: PreTrainedModel) -> int:
    """Pixels along a token that is one patch."""
    return model.config.vision_config.patch_size


def _pool(model: PreTrainedModel) -> int:
    """Pixels along a token of Gemma 3, which pools as many whole patches as fit."""
    vision, (tokens, _) = model.config.vision_config, _pooled(model)
    return vision.image_size // vision.patch_size // tokens * vision.patch_size


def _coords(model: PreTrainedModel, features: Encoded, _: Mapping[str, Any], shape: Shape) -> list[torch.Tensor]:
    """One grid an image; what is more than the grid is the CLS token in front."""
    places = grid(*shape(model))
    return [torch.cat([places.new_full((max(0, len(f) - len(places)), 3), STRUCTURAL), places]) for f in features]


def check_whole(processor: ProcessorMixin, prompts: torch.Tensor) -> None:
    """Refuse prompts ``[B, S]`` of Gemma 3 whose call had crops made: only the processor's words in them tell.

    Raises:
        InputError: if there are crops, of which nobody knows where they lie.
    """
    if is_a(processor, "Gemma3Processor") and any(_CROPS in processor.tokenizer.decode(row) for row in prompts):
        raise InputError(_NO_CROPS)


def _views(processor: ProcessorMixin, image_size: Size, made: Made, shape: Shape) -> dict[int, View]:
    """Undo the preprocessing of CLIP (shortest edge resized to a length, centre cut out) and of SigLIP (resized)."""
    images, canvas = processor.image_processor, _canvas(processor)
    if getattr(images, "do_pan_and_scan", None):
        raise InputError(_NO_CROPS)
    shortest = min(image_size)
    # The longer edge is rounded down, so the two directions are not scaled by quite the same factor.
    resized = (
        [int(images.size["shortest_edge"] * n / shortest) for n in image_size] if images.size.shortest_edge else canvas
    )
    start = [int((new - seen) / 2) * old / new for old, new, seen in zip(image_size, resized, canvas, strict=True)]
    rows, cols = shape(processor)
    patch = getattr(processor, "patch_size", None)
    made = made if patch is None else replace(made, token=patch)
    seen = [made.covered(pixels, tokens) for pixels, tokens in zip(canvas, (cols, rows), strict=True)]
    end = [low + n * old / new for low, n, old, new in zip(start, seen, image_size, resized, strict=True)]
    return {0: View.even((*start, *end), rows, cols)}


def _layout(model: str, processor: str, shape: Shape, token: Callable[[PreTrainedModel], int] = _patch) -> Layout:
    return Layout(
        model,
        processor,
        geometry=lambda of: "{} x {} patches of an image".format(*shape(of)),
        coords=partial(_coords, shape=shape),
        views=partial(_views, shape=shape),
        token=token,
    )


LAYOUTS = {
    "llava": _layout("LlavaForConditionalGeneration", "LlavaProcessor", _patches),
    "gemma3": _layout("Gemma3ForConditionalGeneration", "Gemma3Processor", _pooled, _pool),
    "paligemma": _layout("PaliGemmaForConditionalGeneration", "PaliGemmaProcessor", _counted),
}
