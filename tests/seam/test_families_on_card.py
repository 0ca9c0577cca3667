"""Every family on a card: the same promises as on the host, and nothing waited for."""

import pytest
import torch
import zoo
from asking import BATCH, ONE, TWO, ask, difference, hidden, inputs_of, masked

import resprune
from resprune.seam import request
from resprune.seam.encoding import encode
from resprune.selection import DeviceSelection
from resprune.settings import Settings

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")]
CARD = torch.device("cuda", 0)
ROWS = {"one": ONE, "batch": BATCH, "two-images": TWO}


@pytest.fixture(scope="module")
def members():
    """(model, processor) of each family, made once and moved to the card."""
    made = {}

    def member(family):
        if family not in made:
            model, processor = zoo.tiny(family)
            made[family] = model.to(CARD), processor
        return made[family]

    return member


def there(inputs):
    return {name: value.to(CARD) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


@pytest.mark.parametrize("rows", ROWS)
def test_with_all_tokens_no_bit_changes(family, members, rows):
    model, processor = members(family)
    inputs = there(inputs_of(processor, ROWS[rows]))
    plain = ask(model, inputs)
    with resprune.pruned(model, processor, keep=1.0, mass=True):
        same = ask(model, inputs)
    assert torch.equal(same.sequences, plain.sequences)
    assert difference(same, plain) == 0


@pytest.mark.parametrize("rows", ROWS)
def test_below_it_is_the_masked_prompt(family, members, rows):
    model, processor = members(family)
    inputs = there(inputs_of(processor, ROWS[rows]))
    with resprune.pruned(model, processor, keep=0.4):
        answer = ask(model, inputs)
        results = model.resprune.last
    assert all(isinstance(result.selection, DeviceSelection) for result in results)
    mask = hidden(model, inputs, results)
    assert mask.sum() < inputs["attention_mask"].sum()
    assert difference(masked(model, inputs, mask), answer) < 1e-4
    assert difference(masked(model, inputs, inputs["attention_mask"]), answer) > 1e-4  # with all of them it differs


@pytest.mark.parametrize("mass", [False, True])
def test_the_card_keeps_what_the_host_keeps(family, members, mass):
    """And carries the same mass: answers agree but for rounding."""
    model, processor = members(family)
    inputs = inputs_of(processor, ROWS["batch"])
    host, _ = zoo.tiny(family)
    with resprune.pruned(host, processor, keep=0.4, mass=mass):
        wanted = ask(host, inputs)
        kept, masses = [r.kept for r in host.resprune.last], [r.mass for r in host.resprune.last]
    with resprune.pruned(model, processor, keep=0.4, mass=mass):
        answer = ask(model, there(inputs))
        results = model.resprune.last
    assert [sorted(result.kept) for result in results] == [sorted(one) for one in kept]
    if mass:
        for result, one in zip(results, masses, strict=True):
            assert sorted(result.mass.tolist()) == sorted(one.tolist())
    first, other = answer.logits[0].cpu(), wanted.logits[0]  # later ones depend on tokens that rounding may change
    assert (first - other).abs().max() < 1e-2 * other.abs().max()


@pytest.mark.parametrize("mass", [False, True])
def test_nothing_is_waited_for(family, members, mass):
    model, processor = members(family)
    inputs = there(inputs_of(processor, ROWS["batch"]))
    call = {name: value for name, value in inputs.items() if name != "pixel_values"}
    call["mm_encoder_outputs"] = {"image": encode(model, inputs)}
    settings = Settings(keep=0.4, mass=mass)
    request.prepare(model, processor, settings, dict(call))  # compiles, and fills caches
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        request.prepare(model, processor, settings, dict(call))
        with pytest.raises(RuntimeError, match="synchroniz"):
            call["input_ids"].cpu()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_numbers_that_are_none_are_told_and_the_next_call_works(members):
    model, processor = members("llava")
    inputs = there(inputs_of(processor, ROWS["one"]))
    broken = encode(model, inputs)
    broken.pooler_output[0][3] = torch.nan
    call = {name: value for name, value in inputs.items() if name != "pixel_values"}
    with resprune.pruned(model, processor, keep=9):
        with pytest.raises(resprune.InputError, match="NaN"):
            ask(model, call | {"mm_encoder_outputs": {"image": broken}})
        ask(model, inputs)
        assert model.resprune.last[0].tokens_kept == 9


def test_out_of_memory_is_chosen_on_the_host(members, monkeypatch):
    model, processor = members("llava")
    inputs = there(inputs_of(processor, ROWS["one"]))
    with resprune.pruned(model, processor, keep=9):
        ask(model, inputs)
        usual = model.resprune.last[0]

        def none_left(features):
            raise torch.OutOfMemoryError("none left")

        monkeypatch.setattr("resprune.methods.tokens.inner_products", none_left)
        ask(model, inputs)
        (result,) = model.resprune.last
    assert sorted(result.kept) == sorted(usual.kept) and usual.notes == []
    assert result.notes == ["The tokens were chosen on the host: the accelerator had no memory left for it."]
