"""Pictures of which a part is painted, and how much each visual token changes by it: where tokens really lie."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import unfold

import resprune
from resprune.seam.encoding import Images, encode

SIZES = {"landscape": (90, 60), "portrait": (50, 100), "square": (64, 64), "small": (30, 22)}


def cells(model, inputs, pixels):
    """``[N, C]``, means over the pixels that each visual token of a picture is made of, 0 for newlines."""
    family = model.config.model_type
    if "image_grid_thw" in inputs:  # patches in the order of tokens, some frames of each
        tokens = inputs["image_grid_thw"].prod() // 4
        return pixels.reshape(tokens, 4, 3, -1).mean(dim=(1, 3))
    if family == "mistral3":
        height, width = inputs["image_sizes"][0].tolist()
        pixels = pixels[..., :height, :width]
    tiles = pixels.reshape(-1, *pixels.shape[-3:])
    side = {"llava": 14, "mistral3": 16, "internvl": 16, "idefics3": 16, "smolvlm": 16, "gemma3": 16}.get(family, 8)
    means = unfold(tiles, side, stride=side).reshape(len(tiles), 3, side * side, -1).mean(2).transpose(1, 2)
    if not family.startswith("llava_"):
        return means.flatten(0, 1)
    if family == "llava_next":
        options = {"vision_feature_select_strategy": "default"}
    else:
        options = {"vision_aspect_ratio": model.config.vision_aspect_ratio}
    newline = torch.zeros(3)
    return model.model.pack_image_features([means], inputs["image_sizes"], image_newline=newline, **options)[0][0]


def places(model, inputs):
    """``(tile, row, col)`` of each token of a picture."""
    return Images.of(model, encode(model, inputs), inputs).coords[0]


def painted(size, region=None):
    """A constant picture, in which a region is white."""
    pixels = np.full((size[1], size[0], 3), 100, np.uint8)
    if region:
        x0, y0, x1, y1 = region
        pixels[y0:y1, x0:x1] = 255
    return Image.fromarray(pixels)


def shares(boxes, region):
    """``[N]``, how much of each box lies in a region."""
    x0, y0, x1, y1 = region
    across = (boxes[:, 2].clamp_max(x1) - boxes[:, 0].clamp_min(x0)).clamp_min(0)
    down = (boxes[:, 3].clamp_max(y1) - boxes[:, 1].clamp_min(y0)).clamp_min(0)
    return across * down / ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def regions(size):
    """Some small parts of a picture, at its corners and inside."""
    width, height = size
    w, h = max(3, width // 5), max(3, height // 4)
    corner, other, inside = (0, 0), (width - w, height - h), (width // 2 - w, height // 3)
    return [(x, y, x + w, y + h) for x, y in (corner, other, inside)]


def asked(processor: Any, image: Image.Image, **images: Any) -> Any:
    """The inputs for one question, with what the image processor is told for this call alone."""
    if not images:
        return resprune.build_inputs(processor, image, "Who?")
    content = [{"type": "image"}, {"type": "text", "text": "Who?"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(images=[image], text=[prompt], images_kwargs=images, return_tensors="pt")


def changes(model, processor, size, ask: Callable[[Any, Image.Image], Any] = asked):
    """Coordinates of the tokens of a picture, and how much of the largest change each shows, for each region."""
    blank = ask(processor, painted(size))

    def change(region):
        after = ask(processor, painted(size, region))
        return cells(model, blank, after["pixel_values"] - blank["pixel_values"])

    largest = change((0, 0, *size)).amax(dim=0)
    return places(model, blank), {region: (change(region) / largest).mean(dim=1) for region in regions(size)}
