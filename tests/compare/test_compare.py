"""Two answers to one question: what they say, what they cost, and how they end."""

import io
import json
import threading
import time
from itertools import pairwise

import pytest
import torch
from comparing import FEW, KEYS, ask, clean, counted
from PIL import Image
from tiny import QUESTION, picture, tiny_llava

from resprune.attachment import attach, detach, pruned
from resprune.compare.comparison import WARM_UP_TOKENS, answer, compare
from resprune.compare.generation import Generation
from resprune.errors import InputError
from resprune.images import MAX_QUESTION
from resprune.methods import ResPrune, built_in
from resprune.question.prompt import build_inputs
from resprune.settings import Settings


def text_of(model, processor, question=QUESTION, tokens=8):
    """What ``generate`` itself answers."""
    inputs = build_inputs(processor, picture(), question)
    output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    return processor.tokenizer.decode(output[0], skip_special_tokens=True).rstrip("\ufffd").strip()


def test_the_answers_are_those_of_generate(tiny):
    model, processor = tiny
    full, few = ask(model, processor)
    assert full.answer == text_of(model, processor)
    with pruned(model, processor, keep=4):
        assert few.answer == text_of(model, processor)
    assert full.answer != few.answer


@pytest.mark.parametrize("keep", [36, 1000, 1.0])
def test_with_all_tokens_kept_the_answers_are_the_same(tiny, keep):
    full, everything = ask(*tiny, settings=Settings(keep=keep))
    assert everything.answer == full.answer
    assert everything.tokens_kept == full.tokens_kept == full.tokens_total == 36
    assert sorted(everything.kept) == full.kept == [(0, row, col) for row in range(6) for col in range(6)]
    assert everything.kv_bytes == full.kv_bytes
    assert any("more than the 36 tokens" in note for note in everything.notes) == (keep == 1000)


def test_json_has_the_promised_fields(tiny):
    full, few = (json.loads(json.dumps(side.as_dict())) for side in ask(*tiny))
    assert list(full) == list(few) == KEYS
    assert (full["method"], full["nouns"], full["select_ms"]) == ("full", [], 0)
    assert (few["method"], few["tokens_total"], few["tokens_kept"], len(few["kept"])) == ("resprune", 36, 4, 4)
    assert few["nouns"] == ["animal", "picture"]
    assert all(len(place) == 3 for place in few["kept"])


def test_kv_bytes_are_exact(tiny):
    model, processor = tiny
    prompt = build_inputs(processor, picture(), QUESTION)["input_ids"].shape[1]
    text = model.config.get_text_config()
    entry = text.num_hidden_layers * 2 * text.num_key_value_heads * text.head_dim * 4
    full, few = ask(model, processor, tokens=5)
    assert full.kv_bytes == entry * (prompt + 4)  # the last token is never read
    assert few.kv_bytes == full.kv_bytes - entry * 32


def test_times_add_up(tiny):
    for side in ask(*tiny, tokens=8):
        assert min(side.encode_ms, side.prefill_ms, side.total_ms, side.peak_bytes + 1) > 0
        assert side.encode_ms + side.select_ms + side.prefill_ms <= side.ttft_ms < side.total_ms
        assert side.tpot_ms == pytest.approx((side.total_ms - side.ttft_ms) / 7)
    assert side.select_ms > 0
    assert [side.tpot_ms for side in ask(*tiny, tokens=1)] == [None, None]


def test_slow_parts_are_charged_to_their_own_figure(tiny, monkeypatch):
    model, processor = tiny
    ask(model, processor)  # warm
    quickly = ResPrune.select

    def slowly(*arguments):
        time.sleep(0.3)
        return quickly(*arguments)

    monkeypatch.setattr(ResPrune, "select", slowly)
    full, few = ask(model, processor)
    assert few.select_ms > 300 and few.ttft_ms > few.prefill_ms + 300
    monkeypatch.undo()
    hooks = [model.model.vision_tower.register_forward_pre_hook(lambda *_: time.sleep(0.3))]
    full, few = ask(model, processor)
    assert full.encode_ms == few.encode_ms > 300 and min(full.ttft_ms, few.ttft_ms) > 300
    hooks[0].remove()
    hooks = [model.get_decoder().layers[0].register_forward_pre_hook(lambda *_: time.sleep(0.1))]
    full, few = ask(model, processor, tokens=3)
    assert min(full.tpot_ms, few.tpot_ms, full.prefill_ms, few.prefill_ms) > 100
    assert min(full.total_ms, few.total_ms) > 300
    hooks[0].remove()


def test_what_happens_is_told_in_order(tiny):
    updates = list(compare(*tiny, picture(), QUESTION, FEW, max_new_tokens=8))
    stages = [(update.side, update.stage) for update in updates]
    seen = [stage for i, stage in enumerate(stages) if i == 0 or stage != stages[i - 1]]
    full = [("full", stage) for stage in ("encode", "prefill", "decode", "done")]
    few = [("pruned", stage) for stage in ("select", "prefill", "decode", "done")]
    assert seen == full + few
    assert [update.prune is not None for update in updates if update.stage == "select"] == [False, True]
    chosen = next(update.prune for update in updates if update.prune)
    assert all(u.prune is (chosen if u.side == "pruned" else None) for u in updates if u.stage in ("decode", "done"))
    for side in ("full", "pruned"):
        texts = [update.text for update in updates if update.side == side and update.text]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert texts[-1] == next(u.answer.answer for u in updates if u.side == side and u.answer)
        assert len(set(texts)) > 2


def test_a_picture_is_encoded_once_for_both_sides_and_the_first_question_is_warmed_up(tiny):
    model, processor = tiny
    prompt = build_inputs(processor, picture(), QUESTION)["input_ids"].shape[1]
    short = prompt - 32
    with counted(model.model.vision_tower) as encoded, counted(model.get_decoder()) as read:
        ask(model, processor, tokens=4)
        warm_up = [prompt, *[1] * (WARM_UP_TOKENS - 1), short, *[1] * (WARM_UP_TOKENS - 1)]
        assert read == [*warm_up, prompt, 1, 1, 1, short, 1, 1, 1]
        read.clear(), encoded.clear()
        ask(model, processor, tokens=4)
        assert read == [prompt, 1, 1, 1, short, 1, 1, 1]
        assert len(encoded) == 1


def test_a_single_answer_warms_up_its_own_side_only(tiny):
    model, processor = tiny
    with counted(model.get_decoder()) as read:
        updates = list(answer(model, processor, picture(), QUESTION, FEW, max_new_tokens=3))
        assert [update.side for update in updates] == ["pruned"] * len(updates)
        assert updates[-1].answer.tokens_kept == 4
        assert len(read) == WARM_UP_TOKENS + 3
        read.clear()
        (full,) = [u.answer for u in answer(model, processor, picture(), QUESTION, max_new_tokens=3) if u.answer]
        assert full.method == "full" and len(read) == WARM_UP_TOKENS + 3


def test_updates_may_be_read_from_any_thread(tiny):
    model, processor = tiny
    updates, seen = compare(model, processor, picture(), QUESTION, FEW, max_new_tokens=4), []
    while True:
        reader = threading.Thread(target=lambda: seen.append(next(updates, None)))
        reader.start()
        reader.join()
        if seen[-1] is None:
            break
    assert [update.answer.answer for update in seen[:-1] if update.answer] == [
        side.answer for side in ask(model, processor, tokens=4)
    ]


def test_a_model_that_is_attached_is_refused(tiny):
    model, processor = tiny
    attach(model, processor, keep=4)
    with pytest.raises(InputError, match="detach"):
        ask(model, processor)
    detach(model)
    assert len(ask(model, processor, tokens=2)) == 2


def test_the_full_side_is_full_whatever_is_attached_meanwhile(tiny):
    model, processor = tiny
    expected, _ = ask(model, processor)
    updates = compare(model, processor, picture(), QUESTION, FEW, max_new_tokens=8)
    next(updates)
    attach(model, processor, keep=4)
    full = next(update.answer for update in updates if update.answer)
    assert full.answer == expected.answer and full.kv_bytes == expected.kv_bytes
    with pytest.raises(InputError, match="detach"):
        next(update for update in updates if update.stage == "done")
    detach(model)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"question": " "}, "question is empty"),
        ({"question": "x" * 100_000}, "100,000 characters"),
        ({"image": b"no picture"}, "no picture"),
        ({"image": "/no/such/file.png"}, "no file"),
        ({"tokens": 0}, "at least 1"),
        ({"tokens": 5000}, "room for 4096"),
    ],
)
def test_what_cannot_be_used_is_refused_and_the_next_question_answered(tiny, changes, says):
    model, processor = tiny
    with clean(model), pytest.raises(InputError, match=says):
        ask(model, processor, **changes)
    assert len(ask(model, processor, tokens=2)) == 2


def test_a_question_too_long_for_the_model_is_refused():
    model, processor = tiny_llava(grid=2)
    model.config.text_config.max_position_embeddings = 60
    assert len(ask(model, processor, question="What is it?", tokens=2)) == 2
    with pytest.raises(InputError, match="room for 60; shorten the question"):
        ask(model, processor, question="What " * 60, tokens=2)


@pytest.mark.parametrize(
    "question",
    [
        "<image>",
        "What is <image> in <s> the picture </s>?",
        "<pad>",
        "图片里有什么动物",
        "ما هذا؟",
        "🐶👨‍👩‍👧?",
        "a\0b",
        "?" * MAX_QUESTION,
    ],
)
def test_whatever_is_asked_is_answered(tiny, question):
    for side in ask(*tiny, question=question, tokens=2):
        assert side.tokens_total == 36


@pytest.mark.parametrize("size", [(1, 1), (30, 3000), (3000, 30), (13, 7)])
def test_pictures_of_any_shape_are_answered(tiny, size):
    for side in ask(*tiny, image=Image.new("RGB", size), tokens=2):
        assert side.tokens_total == 36


def test_notes_about_the_picture_are_in_both_answers(tiny):
    frames, file = [picture(0), picture(1)], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    full, few = ask(*tiny, image=file.getvalue(), question="Is it?", tokens=2)
    assert "only the first one" in full.notes[0] and "only the first one" in few.notes[0]
    assert not any("No noun" in note for note in full.notes) and any("No noun" in note for note in few.notes)


def test_an_answer_that_was_cut_off_says_so(tiny):
    model, processor = tiny
    full, _ = ask(model, processor, tokens=3)
    assert "The answer was cut off after 3 tokens." in full.notes
    # Let the third token end a text: then nothing is cut.
    inputs = build_inputs(processor, picture(), QUESTION)
    third = model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, -1].item()
    model.generation_config.eos_token_id = [third]
    full, _ = ask(model, processor, tokens=3)
    assert not any("cut off" in note for note in full.notes)


@pytest.mark.parametrize("method", [name for name, method in built_in().items() if not method.by_hand])
def test_every_method_answers(tiny, method):
    _, few = ask(*tiny, settings=Settings(keep=0.25, method=method), tokens=2)
    assert (few.method, few.tokens_kept, len(set(few.kept))) == (method, 9, 9)


def test_a_model_that_samples_by_default_is_greedy_here(tiny):
    model, processor = tiny
    expected = [side.answer for side in ask(model, processor)]
    model.generation_config.update(do_sample=True, temperature=5.0, num_beams=3)
    assert [side.answer for side in ask(model, processor)] == expected


def test_half_a_character_is_never_shown(tiny):
    model, processor = tiny
    written = "é🐶 ok"
    ids = processor.tokenizer(written, add_special_tokens=False).input_ids
    assert len(ids) > len(written), "characters are several tokens here"

    def generate(streamer, **_):
        streamer.put(torch.zeros(1, 5, dtype=torch.long))
        for token in ids:
            streamer.put(torch.tensor([token]))
        return type("Output", (), {"cache": type("Cache", (), {"layers": []})})

    with Generation(generate, model, processor.tokenizer, {}, len(ids), threading.Event()) as generation:
        texts = list(generation)
    assert list(dict.fromkeys(texts)) == ["", "é", "é🐶", "é🐶 o", "é🐶 ok"]
