"""Methods that merge tokens: what the language model reads in their place, and the mass that they carry."""

import pytest
import torch
from prompts import GRID, PROMPTS, TOKENS, generate, prompt_inputs
from tiny import IMAGE

import resprune
from resprune.errors import InputError
from resprune.methods import built_in
from resprune.seam import encode
from resprune.seam.encoding import Images

MERGING = [name for name, method in built_in().items() if method.merges]


def merged_by_hand(model, inputs, results):
    """The plain model's inputs with the kept tokens replaced by the means of their own, and the others hidden."""
    output = encode(model, inputs)
    features = Images.of(model, output, inputs).features
    mask = inputs["attention_mask"].clone()
    stays = torch.zeros(len(results), TOKENS, dtype=torch.long)
    for image, result in enumerate(results):
        places = [row * GRID + col for _, row, col in result.kept]
        stays[image, places] = 1
        features[image] = features[image].clone()
        features[image][places] = result.selection.merge @ features[image]
    mask[inputs["input_ids"] == IMAGE] = stays.flatten()
    output.pooler_output = features
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    positions = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
    return rest | {"attention_mask": mask, "position_ids": positions, "mm_encoder_outputs": {"image": output}}


@pytest.mark.parametrize("name", MERGING)
@pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
def test_the_model_reads_the_means(tiny, name, rows):
    model, processor = tiny
    inputs = prompt_inputs(processor, rows)
    with resprune.pruned(model, processor, keep=9, method=name):
        merged = generate(model, inputs)
        by_hand = merged_by_hand(model, inputs, model.resprune.last)
    wanted = generate(model, by_hand)
    assert torch.equal(merged.sequences, wanted.sequences)
    assert max((a - b).abs().max() for a, b in zip(merged.logits, wanted.logits, strict=True)) < 1e-4
    unmerged = generate(model, inputs | {k: by_hand[k] for k in ("attention_mask", "position_ids")})
    assert max((a - b).abs().max() for a, b in zip(merged.logits, unmerged.logits, strict=True)) > 1e-3


@pytest.mark.parametrize("name", MERGING)
def test_with_all_tokens_no_bit_changes(tiny, name):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    plain = generate(model, inputs)
    with resprune.pruned(model, processor, keep=1.0, method=name, mass=True):
        same = generate(model, inputs)
    assert all(torch.equal(a, b) for a, b in zip(same.logits, plain.logits, strict=True))


@pytest.mark.parametrize("name", MERGING)
def test_their_mass_is_the_number_of_tokens_merged(tiny, name):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    with resprune.pruned(model, processor, keep=9, method=name):
        generate(model, inputs)
        assert model.resprune.last[0].mass is None
    with resprune.pruned(model, processor, keep=9, method=name, mass=True):
        generate(model, inputs)
        result = model.resprune.last[0]
    assert result.mass.tolist() == (result.selection.merge > 0).sum(1).tolist()
    assert result.mass.sum() == TOKENS


def test_protected_tokens_are_refused():
    with pytest.raises(InputError, match="merges tokens"):
        resprune.Settings(method="tome", protect=(1, 2))
