"""One batch of prompts made one by one, each pruned in its own way: every row is what it is alone, on every family."""

import pytest
import torch
from asking import PICTURES, QUESTIONS, ask, difference, member

import resprune
from resprune.errors import InputError
from resprune.question import build_inputs, collate
from resprune.seam import joined
from resprune.settings import Settings

ASKED = list(zip([*QUESTIONS, "<image></s> Tree?"], PICTURES, strict=True))
WAYS = [
    Settings(5, mass=True),
    Settings(0.5, method="divprune", positions="sequential"),
    Settings(1.0),
]
CLOSE, APART = 1e-3, 1e-2


@pytest.fixture
def tiny(family):
    """(model, processor), which a test leaves as they were."""
    return member(family)


def alone(model, processor):
    """Each question with its own settings, in a call of its own, and its prompt."""
    prompts = [build_inputs(processor, image, question) for question, image in ASKED]
    with resprune.pruned(model, processor):
        return prompts, [ask(model, one, resprune=way) for one, way in zip(prompts, WAYS, strict=True)]


def apart(batch, one, row):
    """Largest difference of the logits of a row of a batch from those of its own call."""
    return max((b[row] - o[0]).abs().max().item() for b, o in zip(batch.logits, one.logits, strict=True))


def test_a_row_of_a_batch_is_what_it_is_alone(tiny):
    model, processor = tiny
    prompts, own = alone(model, processor)
    batch = collate(prompts, processor.tokenizer)
    with resprune.pruned(model, processor, keep=3):
        together = ask(model, batch, resprune=WAYS)
        results = model.resprune.last
        assert model.resprune.settings.keep == 3
        mixed_up = ask(model, batch, resprune=WAYS[::-1])
    length = batch["input_ids"].shape[1]
    assert len({len(prompt["input_ids"][0]) for prompt in prompts}) > 1
    for row, (prompt, one) in enumerate(zip(prompts, own, strict=True)):
        assert torch.equal(together.sequences[row, length:], one.sequences[0, len(prompt["input_ids"][0]) :])
        assert apart(together, one, row) < CLOSE
    assert apart(mixed_up, own[0], 0) > APART
    assert results[0].tokens_kept == 5 and results[0].mass.sum() > 5 and results[1].mass is None
    assert [result.method for result in results] == ["resprune", "divprune", "resprune"]
    assert results[2].tokens_kept == results[2].tokens_total


def test_images_encoded_one_by_one_are_joined(tiny):
    model, processor = tiny
    prompts = [build_inputs(processor, image, question) for question, image in ASKED]
    batch = collate(prompts, processor.tokenizer)
    rest = {name: value for name, value in batch.items() if name != "pixel_values"}
    encoded = joined([resprune.encode(model, prompt) for prompt in prompts])
    with resprune.pruned(model, processor):
        at_once = ask(model, batch, resprune=WAYS)
        one_by_one = ask(model, rest, mm_encoder_outputs={"image": encoded}, resprune=WAYS)
    assert torch.equal(at_once.sequences, one_by_one.sequences)
    assert difference(at_once, one_by_one) < CLOSE


class TestOneFamily:
    """What no family changes."""

    @pytest.fixture
    def tiny(self):
        return member("llava")

    @pytest.mark.parametrize(
        ("ways", "says"),
        [
            (WAYS[:2], "2 settings for 3 prompts"),
            ([WAYS[0], WAYS[1], Settings(4, method="fastv")], "'fastv' cannot stand in a list"),
            ([WAYS[0], WAYS[1], {"keep": 4}], "another type"),
            ([WAYS[0], WAYS[1], Settings(4, protect=[99])], "the visual token 99"),
        ],
    )
    def test_what_cannot_be_asked_together_is_refused(self, tiny, ways, says):
        model, processor = tiny
        batch = collate([build_inputs(processor, image, question) for question, image in ASKED], processor.tokenizer)
        with resprune.pruned(model, processor), pytest.raises(InputError, match=says):
            ask(model, batch, resprune=ways)

    def test_settings_of_one_call_hold_for_all_its_rows(self, tiny):
        model, processor = tiny
        batch = collate([build_inputs(processor, image, question) for question, image in ASKED], processor.tokenizer)
        with resprune.pruned(model, processor, keep=4, mass=True):
            as_attached = ask(model, batch)
        with resprune.pruned(model, processor, method="fastv"):
            given = ask(model, batch, resprune=Settings(4, mass=True))
            for_each = ask(model, batch, resprune=[Settings(4, mass=True)] * 3)
        assert all(map(torch.equal, as_attached.logits, given.logits))
        assert all(map(torch.equal, as_attached.logits, for_each.logits))
