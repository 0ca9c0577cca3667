"""Boxes where a call tells the processor sizes of its own, and where patches leave pixels of an image over."""

import functools

import numpy as np
import pytest
import tiny
import torch
import zoo
from painting import SIZES, asked, cells, changes, painted, places, shares
from prompts import generate

import resprune
from resprune import InputError
from resprune.layouts import LAYOUTS
from resprune.layouts.base import Made

SMALL, LARGE = {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}, {"shortest_edge": 128 * 128, "longest_edge": 160**2}
# What each family is told for one call, beside what its processor would do by itself.
TOLD = {
    **{f"{family} few": (family, {"size": SMALL}) for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")},
    **{f"{family} many": (family, {"size": LARGE}) for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")},
    "qwen2_5_vl by pixels": ("qwen2_5_vl", {"min_pixels": 16 * 16, "max_pixels": 48 * 48}),
    "glm4v few": ("glm4v", {"size": {"shortest_edge": 2 * 16 * 16, "longest_edge": 2 * 48 * 48}}),
    "glm4v many": ("glm4v", {"size": {"shortest_edge": 2 * 128 * 128, "longest_edge": 2 * 160 * 160}}),
    "mistral3 few": ("mistral3", {"size": {"longest_edge": 40}}),
    "mistral3 many": ("mistral3", {"size": {"longest_edge": 120}}),
    "internvl few": ("internvl", {"max_patches": 2}),
    "internvl many": ("internvl", {"max_patches": 12, "min_patches": 7}),
    "internvl whole": ("internvl", {"crop_to_patches": False}),
    "idefics3 few": ("idefics3", {"size": {"longest_edge": 64}}),
    "idefics3 many": ("idefics3", {"size": {"longest_edge": 160}}),
    "idefics3 whole": ("idefics3", {"do_image_splitting": False}),
    "smolvlm few": ("smolvlm", {"size": {"longest_edge": 64}}),
    "smolvlm many": ("smolvlm", {"size": {"longest_edge": 160}}),
    "smolvlm whole": ("smolvlm", {"do_image_splitting": False}),
}
# Pixels along a side of what the vision tower sees that no patch shows, and families whose patches never leave any.
OVER = (2, 7)
DIVIDED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "mistral3")


@functools.cache
def model_of(family):
    return zoo.tiny(family)


def protected(model, processor, inputs, box, size):
    """Places of the tokens that stay because of a box; no other does."""
    with resprune.pruned(model, processor, keep=1, protect=[box], image_size=size):
        generate(model, inputs, max_new_tokens=1)
        return set(model.resprune.last[0].kept)


@pytest.mark.parametrize("size", [SIZES["landscape"], SIZES["portrait"]], ids=["landscape", "portrait"])
@pytest.mark.parametrize("case", TOLD)
class TestToldForOneCall:
    def test_boxes_are_those_of_the_grid_that_was_made(self, case, size):
        family, told = TOLD[case]
        model, processor = model_of(family)
        ask = functools.partial(asked, **told)
        coords, by_region = changes(model, processor, size, ask)
        boxes = resprune.boxes(processor, size, coords)
        assert torch.equal(boxes, resprune.boxes(processor, size, coords, every=coords, model=model))
        for region, change in by_region.items():
            assert ((change - shares(boxes, region)).abs() < 0.08).all()
        # By its own settings the processor would have made other tokens.
        views = LAYOUTS[family].views(processor, size, Made())
        assert size == SIZES["portrait"] or {
            tile: view.shape for tile, view in views.items()
        } != resprune.layouts._shapes(coords)

    def test_a_box_protects_the_tokens_that_show_it(self, case, size):
        family, told = TOLD[case]
        model, processor = model_of(family)
        box = (size[0] // 2 + 3, size[1] // 3, size[0] // 2 + 12, size[1] // 3 + 9)
        blank, after = asked(processor, painted(size), **told), asked(processor, painted(size, box), **told)
        change = cells(model, blank, after["pixel_values"] - blank["pixel_values"]).abs().amax(dim=1)
        kept = protected(model, processor, blank, box, size)
        # Resizing lets a little of the paint into the neighbours.
        clearly = {tuple(place) for place in places(model, blank)[change > 0.2 * change.max()].tolist()}
        slightly = {tuple(place) for place in places(model, blank)[change > 0].tolist()}
        assert clearly and clearly <= kept <= slightly
        other = protected(model, processor, blank, (0, 0, 3, 3), size)
        assert not clearly <= other

    def test_some_of_its_tokens_lie_where_all_of_them_say(self, case, size):
        family, told = TOLD[case]
        model, processor = model_of(family)
        coords = places(model, asked(processor, painted(size), **told))
        boxes = resprune.boxes(processor, size, coords)
        for some in ([0], [len(coords) - 1], [1, 3]):
            assert torch.equal(resprune.boxes(processor, size, coords[some], every=coords), boxes[some])


def test_without_all_of_them_the_processors_settings_count():
    model, processor = model_of("qwen2_5_vl")
    size = SIZES["landscape"]
    usual, many = (places(model, asked(processor, painted(size), **told)) for told in ({}, {"size": LARGE}))
    boxes = resprune.boxes(processor, size, usual)
    for some in ([0], [0, 1], [5, 2, 7]):
        assert torch.equal(resprune.boxes(processor, size, usual[some]), boxes[some])
    with pytest.raises(InputError, match=r"A picture of 90 x 60 pixels has 4 x 6 tokens in tile 0; .* as every"):
        resprune.boxes(processor, size, many[-3:])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "glm4v", "mistral3", "llava_next", "llava_onevision", "idefics3"])
def test_the_size_of_another_picture_is_refused(family):
    model, processor = model_of(family)
    size = (90, 40) if family == "idefics3" else SIZES["landscape"]
    inputs = asked(processor, painted(size))
    with pytest.raises(
        InputError, match=r"No picture of 40 x 200 pixels is seen as .* tokens; give the size of the picture"
    ):
        protected(model, processor, inputs, (0, 0, 9, 9), (40, 200))
    assert protected(model, processor, inputs, (0, 0, 9, 9), size)
    coords = places(model, inputs)
    with pytest.raises(InputError, match="No picture of 40 x 200 pixels is seen as"):
        resprune.boxes(processor, (40, 200), coords[coords[:, 0] >= 0], every=coords[coords[:, 0] >= 0])


def test_onevision_shrinks_as_the_call_had_it():
    """The large view of a picture as it was allowed one tile, where the processor by itself allows nine."""
    (model, one), (_, nine) = (zoo.tiny("llava_onevision", most=most) for most in (1, 9))
    size = SIZES["landscape"]
    coords = places(model, asked(one, painted(size)))
    coords = coords[coords[:, 0] >= 0]
    boxes = resprune.boxes(one, size, coords)
    assert torch.equal(resprune.boxes(nine, size, coords), boxes)
    assert torch.equal(resprune.boxes(nine, size, coords[-3:], every=coords), boxes[-3:])
    assert not torch.equal(resprune.boxes(nine, size, coords[-3:]), boxes[-3:])


def test_crops_that_a_call_asks_for_are_refused():
    """Gemma 3's crops are pictures of their own in the call; boxes would be taken for places in each."""
    model, processor = model_of("gemma3")
    size, told = (200, 60), {"pan_and_scan_min_crop_size": 16, "pan_and_scan_min_ratio_to_activate": 1.1}
    whole, crops = (asked(processor, painted(size), do_pan_and_scan=scan, **told) for scan in (False, True))
    assert len(crops["pixel_values"]) > len(whole["pixel_values"]) == 1
    assert protected(model, processor, whole, (0, 0, 9, 9), size)
    with pytest.raises(InputError, match="set do_pan_and_scan=False in the image processor and in calls"):
        protected(model, processor, crops, (0, 0, 9, 9), size)
    with resprune.pruned(model, processor, keep=1, protect=[3]):
        generate(model, crops, max_new_tokens=1)
        assert [len(result.kept) for result in model.resprune.last] == [1] * len(crops["pixel_values"])


@pytest.mark.parametrize("family", ["llava", "llava_onevision", "qwen2_vl", "internvl"])
def test_boxes_are_made_on_the_host_whatever_the_default(family):
    model, processor = model_of(family)
    size = SIZES["landscape"]
    coords = places(model, asked(processor, painted(size)))
    coords = coords[coords[:, 0] >= 0]
    boxes = resprune.boxes(processor, size, coords)
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float64)
    try:
        again = resprune.boxes(processor, size, coords)
        assert resprune.boxes(processor, size, coords.tolist(), every=coords.numpy()).device.type == "cpu"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert again.dtype == torch.float32 and torch.equal(again, boxes)


@pytest.mark.parametrize("every", [[(0, 0, 1)], [(0, 0, 0), (0, 0, 0)], [], [(0, 0, 0), (0, 1, 1)]])
def test_tokens_that_are_not_all_are_refused(every):
    with pytest.raises(InputError, match="all of its tokens"):
        resprune.boxes(model_of("qwen2_vl")[1], (90, 60), [(0, 0, 0)], every=every)


@pytest.mark.parametrize("family", ["idefics3", "smolvlm", "internvl"])
def test_tiles_are_arranged_as_the_call_arranged_them(family):
    """Of the number of tiles and the shape of a picture alone, for pictures and sizes of all kinds."""
    _, processor = model_of(family)
    random = np.random.default_rng(0)
    made = set()
    for _ in range(60):
        size = tuple(random.integers(20, 200, 2).tolist())
        if family == "internvl":
            least, most = sorted(random.integers(1, 13, 2).tolist())
            tile = {"min_patches": least, "max_patches": most}
            from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

            cols, rows = get_optimal_tiled_canvas(size[::-1], (32, 32), least, most)
        else:
            tile = {"size": {"longest_edge": int(random.integers(20, 200))}}
            blank = np.zeros((size[1], size[0], 3), np.uint8)
            counted = processor.image_processor(blank, return_row_col_info=True, **tile)
            rows, cols = counted["rows"][0][0], counted["cols"][0][0]
        count = rows * cols if rows * cols > 1 else 0
        coords = torch.cat([torch.tensor([[t, r, c] for r in range(2) for c in range(2)]) for t in range(count + 1)])
        boxes = resprune.boxes(processor, size, coords, every=coords)
        if count:
            first = boxes[4:8]
            seen = (first[:, 2:].amax(dim=0) - first[:, :2].amin(dim=0)) * torch.tensor([cols, rows])
            assert torch.allclose(seen, torch.tensor(size).float(), rtol=1e-4), (size, tile)
        made.add((rows, cols))
    assert len(made) > 8


def odd(family, over, monkeypatch, **options):
    """A model whose vision tower sees so many pixels more along each side than its patches show."""
    if family == "llava":
        return tiny.tiny_llava(grid=4, over=over)
    side = zoo.TILE + over
    views = [[n // zoo.TILE * side for n in view] for view in zoo.LARGE_VIEWS]
    for name, value in {
        "TILE": side,
        "LARGE_VIEWS": views,
        "_square": lambda n=side: {"height": n, "width": n},
    }.items():
        monkeypatch.setattr(zoo, name, value)
    return zoo.tiny(family, **options)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("family", [family for family in zoo.FAMILIES if family not in DIVIDED])
def test_patches_that_do_not_divide_what_the_model_sees(family, over, size, monkeypatch):
    model, processor = odd(family, over, monkeypatch)
    coords, by_region = changes(model, processor, size)
    patches = coords[:, 0] >= 0
    boxes = resprune.boxes(processor, size, coords[patches], model=model)
    for region, change in by_region.items():
        assert ((change[patches] - shares(boxes, region)).abs() < 0.06).all()
        assert (change[~patches] == 0).all()
    # The whole picture's patches would be told from those spread over all that the model sees.
    first = coords[patches][:, 0] == 0
    shown = {"llava": 56, "gemma3": 64}.get(family, 32)
    seen = shown + (2 if family == "gemma3" else 1) * over
    corner = boxes[first, :2].amin(dim=0).repeat(2)
    spread = corner + (boxes[first] - corner) * seen / shown
    wrong = [(change[patches][first] - shares(spread, region)).abs().max() for region, change in by_region.items()]
    assert max(wrong) > 0.06


def test_a_real_onevision_leaves_six_pixels_over():
    """27 patches of 14 pixels show 378 of 384; the processor says so by itself."""
    processor = model_of("llava_onevision")[1]
    images = type(processor.image_processor)(
        size={"height": 384, "width": 384}, image_grid_pinpoints=[[384 * a, 384 * b] for a in (1, 2) for b in (1, 2)]
    )
    real = type(processor)(
        images,
        processor.tokenizer,
        processor.video_processor,
        num_image_tokens=729,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    size = (768, 768)
    corners = torch.tensor([(0, 26, 26), (1, 0, 26), (1, 0, 27), (1, 53, 53)])
    boxes = resprune.boxes(real, size, corners)
    assert torch.allclose(boxes[0], torch.tensor([728.0, 728, 756, 756]))  # pixels are two of a tile's
    assert torch.allclose(boxes[1], torch.tensor([364.0, 0, 378, 14]))
    assert torch.allclose(boxes[2], torch.tensor([384.0, 0, 398, 14]))
    assert torch.allclose(boxes[3], torch.tensor([748.0, 748, 762, 762]))
