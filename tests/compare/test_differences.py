"""Where two answers part: teacher forcing against a direct computation."""

import threading

import pytest
import torch
from asking import hidden, member, positions
from tiny import picture

from resprune.compare.comparison import compare
from resprune.compare.differences import differences
from resprune.compare.encoded import EncodedQuestion
from resprune.images import open_image
from resprune.question.prompt import build_inputs
from resprune.settings import Settings

QUESTION = "How many red apples are there near the old cat?"
PICTURE = picture(3, 90, 60)


def answered(model, processor, settings):
    """The last update of each side."""
    updates = compare(model, processor, PICTURE, QUESTION, settings, max_new_tokens=6)
    return {update.side: update for update in updates if update.stage == "done"}


def changes(model, processor, settings):
    done = answered(model, processor, settings)
    full = done["full"]
    return differences(model, processor, full.encoded, list(full.token_ids), settings), done


@torch.no_grad()
def directly(model, processor, token_ids, results=None):
    """Probability of each token of an answer in one forward pass of the plain model, dropped tokens masked."""
    inputs = dict(build_inputs(processor, PICTURE, QUESTION))
    mask = inputs["attention_mask"] if results is None else hidden(model, inputs, results)
    answer = torch.tensor([token_ids])
    length = answer.shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.zeros_like(answer)], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    where = positions(model, inputs)
    inputs["attention_mask"][:, : mask.shape[1]] = mask
    if where.ndim == 3:
        where = where[1:]
    logits = model(**inputs, position_ids=where, use_cache=False).logits[0, -length - 1 : -1]
    return logits.softmax(dim=1).gather(1, answer.T)[:, 0].tolist()


@pytest.mark.parametrize("name", ["llava", "llava_next", "qwen2_5_vl", "smolvlm"])
def test_probabilities_are_those_of_a_direct_computation(name):
    model, processor = member(name)
    found, done = changes(model, processor, Settings(keep=0.3))
    ids = list(done["full"].token_ids)
    assert len(found) == len(ids) == 6
    masked = directly(model, processor, ids, [done["pruned"].prune])
    plain = directly(model, processor, ids)
    assert [change.full for change in found] == pytest.approx(plain, abs=1e-5)
    assert [change.pruned for change in found] == pytest.approx(masked, abs=1e-5)
    assert [change.pruned for change in found] != pytest.approx(plain, abs=1e-4), "pruning changes something"


@pytest.mark.parametrize("mass", [False, True])
def test_with_all_tokens_kept_nothing_changes_by_a_bit(family, mass):
    found, _ = changes(*member(family), Settings(keep=1.0, mass=mass))
    assert found
    assert all(change.full == change.pruned for change in found)
    assert all(change.instead is None for change in found), "greedy decoding took the likeliest"


def test_what_the_pruned_side_would_rather_say_is_what_it_says(tiny):
    model, processor = tiny
    found, done = changes(model, processor, Settings(keep=2))
    said = done["pruned"].token_ids
    parted = next((n for n, (a, b) in enumerate(zip(done["full"].token_ids, said, strict=True)) if a != b), None)
    assert parted is not None, "the two sides of this picture differ"
    assert found[parted].instead == processor.tokenizer.decode([said[parted]], skip_special_tokens=True)
    assert all(change.instead is None for change in found[:parted])


def test_mass_changes_the_probabilities(tiny):
    without, with_mass = (changes(*tiny, Settings(keep=4, mass=mass))[0] for mass in (False, True))
    assert [change.full for change in without] == [change.full for change in with_mass]
    assert [change.pruned for change in without] != pytest.approx([change.pruned for change in with_mass], abs=1e-4)


def test_the_texts_add_up_to_the_answer_and_the_end_has_none(tiny):
    model, processor = tiny
    asked = EncodedQuestion.of(model, processor, open_image(PICTURE), QUESTION, 64)
    ids = processor.tokenizer("a dog in the häuse", add_special_tokens=False).input_ids
    end = processor.tokenizer.eos_token_id
    texts = [change.text for change in differences(model, processor, asked, [*ids, end], Settings(keep=4))]
    assert "".join(texts) == "a dog in the häuse"
    assert texts[-1] == ""


def test_a_stopped_one_gives_nothing_and_leaves_the_model_as_it_was(tiny):
    model, processor = tiny
    asked = EncodedQuestion.of(model, processor, open_image(PICTURE), QUESTION, 64)
    stop = threading.Event()
    stop.set()
    assert differences(model, processor, asked, [5, 6], Settings(keep=4), stop) == []
    assert differences(model, processor, asked, [], Settings(keep=4)) == []
    assert not hasattr(model, "resprune")
