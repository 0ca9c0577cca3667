"""What a process has set around a call, a default type or device, autocast: the choice stays what it was."""

from contextlib import contextmanager

import pytest
import torch
from prompts import GRID
from tiny import QUESTION, answer, picture, tiny_llava

import resprune
from resprune.methods import available
from resprune.seam.masks import added
from resprune.selection import gram_matrix, succession

BUDGET = 9
METHODS = sorted(set(available()) - {"manual"})


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


AROUND = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "another device": lambda: default_device("meta"),
}


@pytest.fixture(scope="module")
def tiny():
    return tiny_llava(grid=GRID)


@pytest.fixture(scope="module")
def inputs(tiny):
    return resprune.build_inputs(tiny[1], picture(), QUESTION)


def record(model, call):
    """An answer, and all that is told of its choice."""
    output = call()
    (result,) = model.resprune.last
    numbers = (result.energy, result.captured, result.mass, *result.relevance.values())
    return output, result.kept, result.coords, [number for number in numbers if number is not None]


def assert_same(one, other):
    assert torch.equal(one[0], other[0])
    assert one[1] == other[1]
    assert torch.equal(one[2], other[2])
    for number, same in zip(one[3], other[3], strict=True):
        assert number.dtype == same.dtype == torch.float32
        assert torch.equal(number, same)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("mass", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_defaults_of_the_process_change_nothing(tiny, inputs, method, mass, around):
    if mass and available()[method].inside:
        pytest.skip("there is no mass inside the model")
    model, processor = tiny
    with resprune.pruned(model, processor, keep=BUDGET, method=method, mass=mass):
        expected = record(model, lambda: answer(model, inputs))
        with AROUND[around]():
            assert_same(record(model, lambda: answer(model, inputs)), expected)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    "settings",
    [{"protect": (1, (0, 0, 30, 30)), "image_size": (90, 60)}, {"positions": "sequential"}, {"keep": "auto"}],
)
def test_nor_do_they_with_other_settings(tiny, inputs, settings, around):
    model, processor = tiny
    with resprune.pruned(model, processor, **({"keep": BUDGET} | settings)):
        expected = record(model, lambda: answer(model, inputs))
        with AROUND[around]():
            assert_same(record(model, lambda: answer(model, inputs)), expected)


@pytest.mark.parametrize("around", AROUND)
def test_what_is_asked_outside_a_call_is_the_same(tiny, around):
    _, processor = tiny
    coords = torch.tensor([[0, row, col] for row in range(GRID) for col in range(GRID)])
    features = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))

    def asked():
        return (
            resprune.boxes(processor, (91, 67), coords).tolist(),
            succession(features, torch.arange(12, device="cpu"), 0.1),
        )

    expected = asked()
    with AROUND[around]():
        assert asked() == expected


@pytest.mark.parametrize("method", sorted(name for name in METHODS if not available()[name].inside))
@pytest.mark.parametrize("mass", [False, True])
def test_under_autocast_the_same_features_give_the_same_choice(tiny, inputs, method, mass):
    model, processor = tiny
    given = {name: value for name, value in inputs.items() if name != "pixel_values"}
    given["mm_encoder_outputs"] = {"image": resprune.encode(model, inputs)}
    with resprune.pruned(model, processor, keep=BUDGET, method=method, mass=mass):
        expected = record(model, lambda: answer(model, given))
        with torch.autocast("cpu", torch.bfloat16):
            under = record(model, lambda: answer(model, given))
    assert_same((expected[0], *under[1:]), expected)  # the language model itself may say something else


def test_features_in_half_precision_would_give_another_choice():
    """What the test above can see: products in bfloat16 are others."""
    features = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        halved = (features @ features.T).float()
    assert (halved - torch.from_numpy(gram_matrix(features))).abs().max() > 1e-3


def test_saliency_is_computed_in_float32_under_autocast(tiny, inputs, monkeypatch):
    model, _ = tiny
    seen = []
    monkeypatch.setattr(
        "resprune.seam.saliency._each", lambda queries, keys: seen.append((queries @ keys.mT).dtype) or []
    )
    with torch.autocast("cpu", torch.bfloat16):
        resprune.encode(model, inputs)
    assert seen == [torch.float32]


def test_a_mask_says_its_own_type_and_device():
    with default_dtype(torch.float64), default_device("meta"):
        mask = added(torch.ones(1, 1, 2, 2, dtype=torch.bool, device="cpu"), 0.0, torch.bfloat16)
    assert (mask.dtype, mask.device.type) == (torch.bfloat16, "cpu")
