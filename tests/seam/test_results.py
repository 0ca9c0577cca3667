"""What a call of ``generate`` tells of the pruning that it did."""

import dataclasses
import gc
import weakref

import pytest
import torch
from tiny import answer, picture

import resprune

TOKENS = 36


def test_what_it_tells(attached, inputs):
    answer(attached, inputs)
    (result,) = attached.resprune.last
    assert result.tokens_total == TOKENS
    assert result.tokens_kept == len(result.kept) == 9
    assert result.order.sort().values.tolist() == list(range(TOKENS))
    assert result.coords.tolist() == [[0, row, col] for row in range(6) for col in range(6)]
    assert result.kept == [tuple(place) for place in result.coords[result.order[:9]].tolist()]
    assert result.nouns == list(result.relevance) == ["animal", "picture"]
    assert all(values.shape == (TOKENS,) for values in result.relevance.values())
    assert result.energy.shape == result.captured.shape == (TOKENS,)
    assert result.method == "resprune"
    assert result.notes == []


@pytest.mark.parametrize("method", ["resprune", "paper"])
def test_the_choice_is_that_of_the_method(attached, inputs, method):
    """Recomputed here from the definition: argmax of weight times residual energy, step by step."""
    attached.resprune.settings = dataclasses.replace(attached.resprune.settings, method=method)
    answer(attached, inputs)
    (result,) = attached.resprune.last
    left = resprune.encode(attached, inputs).pooler_output[0].double()
    cosine = torch.stack(list(result.relevance.values())).amax(0).double().clamp_min(0)
    if method == "paper":
        weight = ((cosine - cosine.min()) / (cosine.max() - cosine.min())).clamp_min(1e-6)
    else:
        weight, left = 1 + 8 * cosine, torch.nn.functional.normalize(left, dim=1)
    for place in result.kept:
        best = int((weight * left.square().sum(1)).argmax())
        assert divmod(best, 6) == place[1:]
        direction = left[best] / left[best].norm()
        left = left - (left @ direction)[:, None] * direction


def test_settings_can_be_replaced(attached, inputs):
    answer(attached, inputs)
    first = attached.resprune.last[0]
    attached.resprune.settings = dataclasses.replace(attached.resprune.settings, keep=0.5, method="random:seed=3")
    answer(attached, inputs)
    (second,) = attached.resprune.last
    assert (second.tokens_kept, second.method) == (TOKENS // 2, "random")
    assert second.energy is None
    assert second.captured is None
    assert first.tokens_kept == 9


def test_each_image_has_its_own(tiny):
    model, processor = tiny
    prompts = ["USER: <image><image>\nIs there a dog? ASSISTANT:", "USER: <image>\nHow many apples? ASSISTANT:"]
    inputs = processor(images=[picture(s) for s in range(3)], text=prompts, padding=True, return_tensors="pt")
    with resprune.pruned(model, processor, keep=9):
        answer(model, inputs)
        results = model.resprune.last
    assert [result.nouns for result in results] == [["dog"], ["dog"], ["apples"]]
    assert len({tuple(result.kept) for result in results}) == 3
    for image, result in enumerate(results):
        prompt = prompts[0 if image < 2 else 1].replace("<image><image>", "<image>")
        alone = processor(images=[picture(image)], text=prompt, return_tensors="pt")
        with resprune.pruned(model, processor, keep=9):
            answer(model, alone)
            assert model.resprune.last[0].kept == result.kept


def test_notes_tell_what_the_user_should_know(tiny):
    model, processor = tiny
    inputs = resprune.build_inputs(processor, picture(), "Is it?")
    with resprune.pruned(model, processor, keep=1000):
        answer(model, inputs)
        (result,) = model.resprune.last
    assert result.notes == [
        "No noun in the question: all patches weigh the same.",
        "The budget of 1000 is more than the 36 tokens of this image: all are kept.",
    ]
    assert result.tokens_kept == TOKENS
    assert result.nouns == []
    assert result.relevance == {}


def test_nothing_large_outlives_prefill(attached, inputs):
    encoded = resprune.encode(attached, inputs)
    features = weakref.ref(encoded.pooler_output[0])
    text = {k: v for k, v in inputs.items() if k != "pixel_values"}
    answer(attached, text, mm_encoder_outputs={"image": encoded})
    del encoded
    gc.collect()
    assert features() is None
    result = attached.resprune.last[0]
    tensors = [result.order, result.coords, result.energy, result.captured, *result.relevance.values()]
    for tensor in tensors:
        assert tensor.device.type == "cpu"
        assert tensor.untyped_storage().nbytes() <= TOKENS * 3 * 8
        assert not tensor.requires_grad


def test_time_of_selection_covers_all_that_pruning_adds(attached, inputs, monkeypatch):
    """A clock that ticks once a reading, and by a thousand where nouns are found: their time must be in it."""
    clock = [0.0]

    def now(_):
        clock[0] += 1
        return clock[0]

    def slow(text):
        clock[0] += 1000
        return []

    monkeypatch.setattr("resprune.device.clock.now_ms", now)
    monkeypatch.setattr("resprune.methods.base.find_nouns", slow)
    answer(attached, inputs)
    assert 1000 < attached.resprune.last[0].select_ms < 1010


def test_times_of_several_images_add_up(tiny, monkeypatch):
    model, processor = tiny
    prompt = "USER: <image><image>\nIs there a dog? ASSISTANT:"
    inputs = processor(images=[picture(0), picture(1)], text=prompt, return_tensors="pt")
    readings = iter([0, 110])
    monkeypatch.setattr("resprune.device.clock.now_ms", lambda _: next(readings))
    with resprune.pruned(model, processor, keep=9):
        answer(model, inputs)
        assert [result.select_ms for result in model.resprune.last] == [55, 55]
