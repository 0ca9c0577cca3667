"""Text that grows by tokens: whatever is said of a part of it is true of the whole."""

import threading
from itertools import pairwise

import pytest
import torch
import zoo
from asking import member
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import picture

from resprune.compare.differences import differences
from resprune.compare.encoded import EncodedQuestion
from resprune.compare.generation import Generation
from resprune.compare.text import additions, complete, settled
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies
from resprune.images import open_image
from resprune.settings import Settings

SAID = "答：🐶🐱🐭。"  # noqa: RUF001 - as it is written
TOKENIZERS = {"bytes": zoo.spelling_tokenizer(), "byte pairs": zoo.tokenizer()}
ROWS = ("llava_next_spelled", "llava")

each = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=8) | st.sampled_from(["🐶🐱", SAID])


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_a_byte_more_can_take_a_character_back():
    """Without which there would be nothing to guard against."""
    tokenizer = TOKENIZERS["bytes"]
    lengths = [len(decoded(tokenizer, ids_of(tokenizer, "🐶🐱")[:n]).rstrip("\ufffd")) for n in range(1, 10)]
    assert lengths != sorted(lengths)


@each
@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_a_text_adds_up(tokenizer, text):
    ids = ids_of(tokenizer, text)
    whole = complete(tokenizer, ids)
    assert whole == decoded(tokenizer, ids)
    pieces = additions(tokenizer, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == whole


@each
@settings(max_examples=60, deadline=None)
@given(text=texts, noise=st.lists(st.integers(0, 255), max_size=6), more=texts)
def test_what_is_settled_stays(tokenizer, text, noise, more):
    """Whatever follows, bytes that are no text and the end of text included."""
    strange = (
        [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in noise] if "<0x00>" in tokenizer.vocab else noise
    )
    ids = [*ids_of(tokenizer, text), *strange, *ids_of(tokenizer, more), tokenizer.eos_token_id]
    shown = [settled(tokenizer, ids[:n]) for n in range(len(ids) + 1)]
    assert all(after.startswith(before) for before, after in pairwise([*shown, complete(tokenizer, ids)]))
    for end in range(len(ids) + 1):
        assert complete(tokenizer, ids[:end]).startswith(shown[end])
        assert "".join(additions(tokenizer, ids[:end])) == complete(tokenizer, ids[:end])


@each
def test_an_answer_that_is_cut_off_within_a_character_keeps_those_before(tokenizer):
    ids = ids_of(tokenizer, "ok 🐶🐱")
    assert {complete(tokenizer, ids[: len(ids) - cut]) for cut in (1, 2, 3)} == {"ok 🐶"}


@each
def test_each_character_is_its_last_byte(tokenizer):
    ids = ids_of(tokenizer, "🐶🐱")
    told = [(number, text) for number, text in enumerate(additions(tokenizer, ids), 1) if text]
    assert told[-2:] == [(len(ids) - 4, "🐶"), (len(ids), "🐱")]


@each
def test_a_stream_only_grows(tokenizer):
    model, ids = member("llava")[0], ids_of(tokenizer, SAID + " ok 🐶🐱")

    def generate(streamer, **_):
        streamer.put(torch.zeros(1, 5, dtype=torch.long))
        for token in ids:
            streamer.put(torch.tensor([token]))
        return type("Output", (), {"cache": type("Cache", (), {"layers": []})})

    with Generation(generate, model, tokenizer, {}, len(ids), threading.Event()) as generation:
        shown = list(generation)
    assert all(after.startswith(before) for before, after in pairwise(shown))
    assert shown[-1] == SAID + " ok 🐶🐱"
    assert any(SAID in text for text in shown[:-4]), "an answer is shown while it grows"


@pytest.mark.parametrize("family", ROWS)
def test_differences_double_nothing(family):
    model, processor = member(family)
    asked = EncodedQuestion.of(model, processor, open_image(picture()), "Who?", 64)
    ids = ids_of(processor.tokenizer, SAID)
    found = differences(model, processor, asked, ids, Settings(keep=4))
    assert "".join(change.text for change in found) == SAID


@pytest.mark.parametrize("family", ROWS)
def test_replies_are_cut_off_between_characters_too(family, monkeypatch):
    model, processor = member(family)
    ids = ids_of(processor.tokenizer, "ok 🐶🐱")[:-1]

    def says(**call):
        model.get_decoder()(call["input_ids"][:, :1])  # what is timed
        return torch.cat([call["input_ids"], torch.tensor([ids])], dim=1)

    monkeypatch.setattr(model, "generate", says, raising=False)
    asked = Example(0, picture(), "what", "Who?", ("ok",))
    assert Replies(model, processor).to(asked).text == "ok 🐶"
