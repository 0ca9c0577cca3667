"""The boxes of every family: as much of a patch changes as was painted of its box, in whatever picture."""

import re

import pytest
import torch
import zoo
from painting import SIZES, cells, changes, painted, regions, shares
from torch.nn.functional import unfold

import resprune
from resprune.seam.encoding import Images, encode

# Where OneVision shrinks the large view, each token is a mixture of four patches.
CASES = {name: (name, {}) for name in zoo.FAMILIES} | {"onevision shrunk": ("llava_onevision", {"most": 1})}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    family, options = CASES[request.param]
    return *zoo.tiny(family, **options), 0.15 if options else 0.05


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
