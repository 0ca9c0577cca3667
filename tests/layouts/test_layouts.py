"""Each patch's box is where that patch came from: paint there, and that patch changes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import PATCH, tiny_llava
from transformers import SiglipImageProcessor

import resprune
from resprune.layouts import LAYOUTS, layout_of

GRID = 24
SIZES = {
    "wide": (640, 360),
    "tall": (401, 777),
    "square": (500, 500),
    "small": (97, 60),
    "as large as the crop": (336, 336),
    "one pixel": (1, 1),
    "a strip": (30, 3000),
    "a lying strip": (3000, 30),
}


@pytest.fixture(scope="module")
def clip():
    return tiny_llava(grid=GRID)


@pytest.fixture(scope="module")
def siglip():
    """A processor that resizes to a square, whatever the picture's shape, and crops nothing."""
    processor = tiny_llava(grid=GRID)[1]
    side = GRID * PATCH
    processor.image_processor = SiglipImageProcessor(size={"height": side, "width": side})
    return processor


@pytest.fixture(params=["clip", "siglip"])
def processor(request):
    return request.getfixturevalue("clip")[1] if request.param == "clip" else request.getfixturevalue("siglip")


def all_patches():
    row, col = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, col], dim=-1).reshape(-1, 3)


def patches(processor, array):
    """``[576, 588]`` values of each patch that the processor makes of a picture."""
    values = processor.image_processor(Image.fromarray(array), return_tensors="pt")["pixel_values"]
    return torch.nn.functional.unfold(values, PATCH, stride=PATCH)[0].T


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_painting_a_box_changes_its_patch_most(processor, size):
    width, height = size
    boxes = resprune.boxes(processor, size, all_patches())
    assert boxes.shape == (GRID * GRID, 4)
    canvas = np.full((height, width, 3), 128, np.uint8)
    before = patches(processor, canvas)
    for patch in (0, 5, 130, 300, 311, 575):
        x0, y0, x1, y1 = boxes[patch].tolist()
        # The pixels whose centres lie in the box; where pixels are larger than boxes, the one that holds its centre.
        columns = [x for x in range(width) if x0 <= x + 0.5 < x1] or [int((x0 + x1) / 2)]
        rows = [y for y in range(height) if y0 <= y + 0.5 < y1] or [int((y0 + y1) / 2)]
        painted = canvas.copy()
        painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 255
        change = (patches(processor, painted) - before).abs().sum(1)
        # Patches that lie wholly in the paint change alike.
        assert change[patch] > 0.99 * change.max()


@pytest.mark.parametrize("size", [s for s in SIZES.values() if min(s) >= 60], ids=lambda s: f"{s[0]}x{s[1]}")
def test_boxes_are_exact_to_a_fraction_of_a_pixel(processor, size):
    """Resizing keeps a linear ramp linear: the mean of a patch is the value of the ramp at the centre of its box."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ramps = np.stack([x / width, y / height, np.zeros_like(x)], -1) * 255
    mean = patches(processor, ramps.round().astype(np.uint8)).reshape(-1, 3, PATCH * PATCH).mean(2)
    images = processor.image_processor
    level = mean * torch.tensor(images.image_std) + torch.tensor(images.image_mean)  # [576, 3], in [0, 1]
    inner = all_patches()[:, 1:].sub(GRID / 2 - 0.5).abs().amax(1) < GRID / 2 - 2  # a ramp ends at the border
    boxes = resprune.boxes(processor, size, all_patches())[inner]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    error = (level[inner, :2] * torch.tensor(size) - centres).abs()
    assert (error < torch.tensor(size) * 0.002 + 0.02).all()
    # A box misplaced by half a pixel would be told, where pixels are not too fine for 256 levels.
    if max(size) < 200:
        assert ((error + 0.5) > torch.tensor(size) * 0.002 + 0.02).all()


def test_the_features_lie_where_their_coordinates_say(clip):
    model, processor = clip
    size = (640, 360)
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)

    def features(array):
        inputs = resprune.build_inputs(processor, Image.fromarray(array), "Who?")
        return resprune.encode(model, inputs).pooler_output, inputs

    (before,), inputs = features(canvas)
    (coords,) = layout_of(model).coords(model, [before], inputs)
    for patch in (0, 130, 311, 575):
        x0, y0, x1, y1 = resprune.boxes(processor, size, coords[patch : patch + 1])[0].round().int().tolist()
        painted = canvas.copy()
        painted[y0:y1, x0:x1] = np.random.default_rng(patch).integers(0, 255, (y1 - y0, x1 - x0, 3))
        ((after,), _) = features(painted)
        assert (after - before).norm(dim=1).argmax() == patch


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_boxes_are_a_grid_at_the_centre_of_the_picture(clip, width, height):
    boxes = resprune.boxes(clip[1], (width, height), all_patches()).reshape(GRID, GRID, 4)
    slack = 1e-3 * max(width, height)
    assert torch.allclose(boxes[:, :-1, 2], boxes[:, 1:, 0], atol=slack)
    assert torch.allclose(boxes[:-1, :, 3], boxes[1:, :, 1], atol=slack)
    left, top, right, bottom = boxes[0, 0, 0], boxes[0, 0, 1], boxes[-1, -1, 2], boxes[-1, -1, 3]
    pixel = min(width, height) / (GRID * PATCH)  # of the resized picture, which is cropped to whole ones
    assert abs(left + right - width) <= 2 * pixel + slack
    assert abs(top + bottom - height) <= 2 * pixel + slack
    assert left >= -slack and top >= -slack and right <= width + slack and bottom <= height + slack
    # The shortest edge is seen whole.
    assert abs(min(right - left, bottom - top) - min(width, height)) < slack


def test_boxes_of_an_unknown_processor_are_refused(clip):
    with pytest.raises(resprune.InputError, match="TokenizersBackend"):
        resprune.boxes(clip[1].tokenizer, (10, 10), all_patches())


@pytest.mark.parametrize("size", [[640, 360], np.array([640, 360]), torch.tensor([640, 360]), (640.0, np.int64(360))])
def test_sizes_and_places_come_in_any_form(clip, size):
    boxes = resprune.boxes(clip[1], (640, 360), all_patches()[5:8])
    assert torch.equal(resprune.boxes(clip[1], size, all_patches()[5:8].numpy()), boxes)
    assert torch.equal(resprune.boxes(clip[1], size, [tuple(place) for place in all_patches()[5:8].tolist()]), boxes)
    assert resprune.boxes(clip[1], size, []).shape == (0, 4)


@pytest.mark.parametrize(
    ("size", "coords", "says"),
    [
        ((640,), [(0, 0, 0)], "image_size is"),
        ((0, 5), [(0, 0, 0)], "each 1 or more"),
        ((640, 360), [(0, 0)], r"give \(tile, row, col\)"),
        ((640, 360), [(0, 0, 0.5)], "whole numbers"),
        ((640, 360), "here", "coords are 'here'"),
        ((640, 360), [(1, 0, 0)], "has no tile 1"),
        ((640, 360), [(-1, 0, 0)], "has no tile -1"),
        ((640, 360), [(0, 24, 0)], "has 24 x 24 tokens in tile 0"),
        ((640, 360), [(0, 0, -1)], "has 24 x 24 tokens in tile 0"),
    ],
)
def test_what_is_no_place_is_refused(clip, size, coords, says):
    with pytest.raises(resprune.InputError, match=says):
        resprune.boxes(clip[1], size, coords)


def test_families_go_by_their_name_in_transformers(clip):
    assert LAYOUTS[clip[0].config.model_type] is layout_of(clip[0])
