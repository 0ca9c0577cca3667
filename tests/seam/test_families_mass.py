"""Mass on every family: as the whole prompt with the dropped tokens masked out and the kept ones favoured."""

import pytest
import torch
from asking import BATCH, ONE, TWO, ask, difference, hidden, inputs_of, masked, member
from test_families import KEEP, MODES, OF_THE_MODEL

import resprune
from resprune.seam.encoding import Images, encode
from resprune.seam.mass_attention import carried

PROMPTS = {"one": ONE, "batch": BATCH, "two-images": TWO}


@pytest.fixture
def tiny(family):
    """(model, processor), which a test leaves as they were."""
    return member(family)


def bias_of(model, inputs, results):
    """``[B, S]``, the logarithm of the mass of each column of the caller's prompt, by what the results say."""
    logarithms = []
    for coords, result in zip(Images.of(model, encode(model, inputs), inputs).coords, results, strict=True):
        of_place = dict(zip(result.kept, result.mass.log().tolist(), strict=True))
        logarithms += [of_place.get(tuple(place), 0.0) for place in coords.tolist()]
    bias = torch.zeros(inputs["input_ids"].shape)
    bias[inputs["input_ids"] == model.config.image_token_id] = torch.tensor(logarithms)
    return bias


@pytest.mark.parametrize(
    ("rows", "mode"), [("one", "greedy"), ("two-images", "greedy"), *(("batch", m) for m in MODES)]
)
def test_mass_equals_the_masked_full_prompt_with_its_bias(family, tiny, rows, mode):
    if (family, rows, mode) in OF_THE_MODEL:
        pytest.skip("the plain model does not, see OF_THE_MODEL")
    model, processor = tiny
    inputs = inputs_of(processor, PROMPTS[rows])
    with resprune.pruned(model, processor, keep=KEEP, mass=resprune.Mass(alike=-1)):
        ours = ask(model, inputs, **MODES[mode])
        results = model.resprune.last
    mask, bias = hidden(model, inputs, results), bias_of(model, inputs, results)
    assert all(result.mass.sum() == result.tokens_total for result in results)
    with carried(model, bias):
        reference = masked(model, inputs, mask, **MODES[mode])
    assert torch.equal(ours.sequences, reference.sequences)
    assert difference(ours, reference) < 1e-3
    assert mode != "greedy" or difference(ours, masked(model, inputs, mask, **MODES[mode])) > 1e-2


def test_with_all_tokens_mass_changes_no_bit(tiny):
    model, processor = tiny
    inputs = inputs_of(processor, BATCH)
    plain, attributes = ask(model, inputs), dict(vars(model))
    with resprune.pruned(model, processor, keep=1.0, mass=True):
        assert difference(ask(model, inputs), plain) == 0
    assert dict(vars(model)) == attributes


def test_a_cache_changes_nothing(tiny):
    model, processor = tiny
    inputs = inputs_of(processor, BATCH)
    with resprune.pruned(model, processor, keep=KEEP, mass=resprune.Mass(alike=-1)):
        assert difference(ask(model, inputs, use_cache=False), ask(model, inputs)) < 1e-3


def test_sequential_positions_answer(tiny):
    """Closing the gaps is another prompt: the answer is one, and not that of the original positions."""
    model, processor = tiny
    inputs = inputs_of(processor, BATCH)
    with resprune.pruned(model, processor, keep=KEEP):
        original = ask(model, inputs)
    with resprune.pruned(model, processor, keep=KEEP, positions="sequential"):
        assert difference(ask(model, inputs), original) > 1e-3
