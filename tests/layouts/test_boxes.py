"""The boxes of every family: as much of a patch changes as was painted of its box, in whatever picture."""

import re

import numpy as np
import pytest
import torch
import zoo
from PIL import Image
from torch.nn.functional import unfold

import resprune
from resprune.seam.encoding import Images, encode

SIZES = {"landscape": (90, 60), "portrait": (50, 100), "square": (64, 64), "small": (30, 22)}
# Where OneVision shrinks the large view, each token is a mixture of four patches.
CASES = {name: (name, {}) for name in zoo.FAMILIES} | {"onevision shrunk": ("llava_onevision", {"most": 1})}


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


@pytest.fixture(scope="module", params=CASES)
def case(request):
    family, options = CASES[request.param]
    return *zoo.tiny(family, **options), 0.15 if options else 0.05


def changes(model, processor, size):
    """Coordinates of the tokens of a picture, and how much of the largest change each shows, for each region."""
    blank = resprune.build_inputs(processor, painted(size), "Who?")

    def change(region):
        after = resprune.build_inputs(processor, painted(size, region), "Who?")
        return cells(model, blank, after["pixel_values"] - blank["pixel_values"])

    largest = change((0, 0, *size)).amax(dim=0)
    return places(model, blank), {region: (change(region) / largest).mean(dim=1) for region in regions(size)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_as_much_of_a_patch_changes_as_was_painted_of_its_box(case, size):
    model, processor, slack = case
    coords, by_region = changes(model, processor, size)
    patches = coords[:, 0] >= 0
    boxes = resprune.boxes(processor, size, coords[patches])
    quarter = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2) / 4
    shifted = 0
    for region, change in by_region.items():
        assert ((change[patches] - shares(boxes, region)).abs() < slack).all()
        assert (change[~patches] == 0).all()
        shifted = max(shifted, (change[patches] - shares(boxes + quarter, region)).abs().max().item())
    # The same boxes a quarter of a patch away would be told apart.
    assert shifted > slack


def without_attention(model):
    """The model with a vision tower in which no patch sees another."""
    for name, module in model.model.named_modules():
        if re.search(r"(vision|visual).*att\w*\.(out_|o_)?proj(ection_layer)?$", name):
            for parameter in module.parameters():
                torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("name", CASES)
def test_features_come_in_the_order_of_their_coordinates(name):
    """Where patches do not see each other, those change whose pixels were painted, and no others."""
    family, options = CASES[name]
    model, processor = zoo.tiny(family, **options)
    without_attention(model)
    size = SIZES["portrait"]

    def seen(region=None):
        inputs = resprune.build_inputs(processor, painted(size, region), "Who?")
        return inputs, torch.cat(Images.of(model, encode(model, inputs), inputs).features)

    blank, before = seen()
    for region in regions(size):
        inputs, after = seen(region)
        pixels = cells(model, blank, (inputs["pixel_values"] - blank["pixel_values"]).abs())
        wanted, changed = (values.abs().amax(dim=1) > 1e-6 for values in (pixels, after - before))
        assert torch.equal(changed, wanted)
        assert not torch.equal(changed.roll(1), wanted)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_onevision_pads_each_of_several_pictures_to_a_square(size):
    model, processor = zoo.tiny("llava_onevision")

    def inputs(region=None):
        pictures = [[painted(size, region), painted((40, 40))]]
        return processor(images=pictures, text=["<image><image>Who?"], return_tensors="pt")

    blank = inputs()
    coords = Images.of(model, encode(model, blank), blank).coords[0]
    patches = coords[:, 0] >= 0
    boxes = resprune.boxes(processor, size, coords[patches])

    def change(region):
        pixels = (inputs(region)["pixel_values"] - blank["pixel_values"])[0, 0]
        return unfold(pixels[None], 8, stride=8)[0].reshape(3, 64, -1).mean(1).T

    unit = change((0, 0, *size)).amax(dim=0)
    quarter = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2) / 4
    for region in regions(size):
        shown = (change(region) / unit).mean(dim=1)
        assert ((shown - shares(boxes, region)).abs() < 0.05).all()
        assert ((shown - shares(boxes + quarter, region)).abs() > 0.05).any()
