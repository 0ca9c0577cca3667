"""Pruning is exact: with all tokens no bit changes; below, it is the plain model with the other tokens masked out."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prompts import (
    ANSWER,
    MODES,
    PROMPTS,
    QUESTIONS,
    TOKENS,
    difference,
    generate,
    hidden_mask,
    positions_of,
    prompt_inputs,
)
from tiny import IMAGE, picture
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

import resprune
from resprune.seam.shorten import shorten


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
def test_with_all_tokens_no_bit_changes(tiny, rows, mode):
    model, processor = tiny
    inputs = prompt_inputs(processor, rows)
    plain = generate(model, inputs, **MODES[mode])
    with resprune.pruned(model, processor, keep=1.0):
        same = generate(model, inputs, **MODES[mode])
    assert torch.equal(same.sequences, plain.sequences)
    assert difference(same, plain) == 0


def test_with_all_tokens_but_one_the_logits_change(tiny):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    plain = generate(model, inputs)
    with resprune.pruned(model, processor, keep=TOKENS - 1):
        pruned = generate(model, inputs)
    assert difference(pruned, plain) > 1e-3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
def test_pruned_equals_the_masked_full_prompt(tiny, rows, mode):
    model, processor = tiny
    inputs = prompt_inputs(processor, rows)
    with resprune.pruned(model, processor, keep=9):
        pruned = generate(model, inputs, **MODES[mode])
        hidden = hidden_mask(inputs, model.resprune.last)
    positions = positions_of(inputs["attention_mask"])
    masked = generate(model, inputs | {"attention_mask": hidden, "position_ids": positions}, **MODES[mode])
    assert torch.equal(pruned.sequences, masked.sequences)
    assert difference(pruned, masked) < 1e-4


@pytest.mark.parametrize("wrong", ["positions", "one dropped token visible", "one kept token swapped"])
def test_the_masked_full_prompt_tells_a_mistake(tiny, wrong):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    with resprune.pruned(model, processor, keep=9):
        pruned = generate(model, inputs)
        hidden = hidden_mask(inputs, model.resprune.last)
    positions = positions_of(inputs["attention_mask"])
    is_image = inputs["input_ids"][0] == IMAGE
    kept, dropped = ((hidden[0] == value) & is_image for value in (1, 0))
    if wrong == "positions":
        positions = positions_of(hidden)
    else:
        hidden[0, dropped.nonzero()[0]] = 1
        if wrong == "one kept token swapped":
            hidden[0, kept.nonzero()[0]] = 0
    masked = generate(model, inputs | {"attention_mask": hidden, "position_ids": positions})
    assert difference(pruned, masked) > 1e-2


@pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
def test_every_step_equals_one_uncached_pass_over_everything(tiny, rows):
    """The answer again in one forward pass, without generate or a cache, under an explicit 4-D mask."""
    model, processor = tiny
    inputs = prompt_inputs(processor, rows)
    with resprune.pruned(model, processor, keep=9):
        pruned = generate(model, inputs)
        hidden = hidden_mask(inputs, model.resprune.last)
    steps, length = len(pruned.logits), inputs["input_ids"].shape[1]
    visible = torch.nn.functional.pad(hidden, (0, steps), value=1).bool()
    real = torch.nn.functional.pad(inputs["attention_mask"], (0, steps), value=1)
    causal = torch.ones(length + steps, length + steps, dtype=torch.bool).tril()
    # A query that sees nothing would be undefined; those of padding see themselves.
    seen = (causal & visible[:, None]) | torch.eye(length + steps, dtype=torch.bool)
    bias = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]

    def logits(bias):
        with torch.no_grad():
            return model(
                input_ids=pruned.sequences,
                pixel_values=inputs["pixel_values"],
                attention_mask=bias,
                position_ids=positions_of(real),
                use_cache=False,
            ).logits[:, length - 1 : -1]

    ours = torch.stack(pruned.logits, dim=1)
    assert (logits(bias) - ours).abs().max() < 1e-4
    unmasked = torch.zeros_like(bias).masked_fill(~causal, torch.finfo(torch.float32).min)
    assert (logits(unmasked) - ours).abs().max() > 1e-2


def test_gaps_are_not_taken_for_packed_sequences(tiny, monkeypatch):
    """Without a cache, transformers reads gaps in positions as seams between sequences if there is no mask."""
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    with resprune.pruned(model, processor, keep=9):
        cached = generate(model, inputs)
        assert difference(generate(model, inputs, use_cache=False), cached) < 1e-4
        monkeypatch.setattr("resprune.seam.request._needs_mask", lambda *_: False)
        assert difference(generate(model, inputs, use_cache=False), cached) > 1e-2


def test_flash_attention_is_given_a_mask(tiny, monkeypatch):
    """Flash attention reads gaps so too, with a cache as well."""
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    masks = []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    with resprune.pruned(model, processor, keep=9):
        plain = generate(model, inputs)
        assert masks[0] is None
        masks.clear()
        monkeypatch.setattr("resprune.seam.request.is_flash_attention_requested", lambda _: True)
        assert difference(generate(model, inputs), plain) < 1e-4
    assert masks[0][0].tolist() == [0] + [1] * (masks[0].shape[1] - 1)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), rows=st.integers(1, 3), length=st.integers(1, 12), force_padding=st.booleans())
def test_shortening_keeps_order_and_pads_on_the_left(data, rows, length, force_padding):
    flags = st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=rows, max_size=rows)
    mask, dropped = (torch.tensor(data.draw(flags)) for _ in range(2))
    mask[:, -1], dropped[:, -1] = True, False  # a prompt ends with text
    stay = (mask & ~dropped).sum(dim=1).tolist() if dropped.any() else None
    short = shorten(mask.long(), dropped, stay, torch.zeros(rows, 0, dtype=torch.long), force_padding)
    assert short.lacks == bool(dropped.any())
    ids = torch.arange(rows * length).reshape(rows, length) + 1
    sent = short.take(ids, 0)
    if not dropped.any():
        assert torch.equal(sent, ids)
        assert torch.equal(short.take(mask.long(), 0), mask.long())
        return
    stays = [row[keep].tolist() for row, keep in zip(ids, mask & ~dropped, strict=True)]
    longest = max(map(len, stays)) + (force_padding and len(set(map(len, stays))) == 1)
    assert sent.tolist() == [[0] * (longest - len(row)) + row for row in stays]
    assert torch.equal(short.sent(), mask & ~dropped)
    assert torch.equal(short.take(mask.long(), 0), (sent > 0).long())


@pytest.mark.parametrize("keep", [1.0, 36])
def test_image_tokens_that_the_mask_hides_change_nothing_where_all_are_kept(tiny, keep):
    model, processor = tiny
    inputs = dict(prompt_inputs(processor, PROMPTS["batch with padding"]))
    inputs["attention_mask"] = mask = inputs["attention_mask"].clone()
    mask[0, (inputs["input_ids"][0] == model.config.image_token_id).nonzero()[3:9, 0]] = 0
    plain = generate(model, inputs)
    with resprune.pruned(model, processor, keep=keep):
        assert difference(generate(model, inputs), plain) == 0
    with resprune.pruned(model, processor, keep=9):
        assert difference(generate(model, inputs), plain) > 0


class TestChat:
    """A second turn that goes on from the KV cache of the first."""

    MORE = "USER: Is there a tree on the right of the house? ASSISTANT:"

    @pytest.fixture
    def chat(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
        resprune.attach(model, processor, keep=9)
        first = generate(model, inputs)
        hidden = hidden_mask(inputs, model.resprune.last)
        more = processor.tokenizer(self.MORE, add_special_tokens=False, return_tensors="pt").input_ids.expand(2, -1)
        ids = torch.cat([first.sequences, more], dim=1)
        new = ids.shape[1] - hidden.shape[1]
        mask = torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1)
        hidden = torch.nn.functional.pad(hidden, (0, new), value=1)
        return model, processor, inputs, first, ids, mask, hidden

    def masked(self, model, inputs, ids, mask, hidden, pixels=None):
        """The plain model, without the cache of the first turn."""
        resprune.detach(model)
        pixels = inputs["pixel_values"] if pixels is None else torch.cat([inputs["pixel_values"], pixels])
        given = {"input_ids": ids, "attention_mask": hidden, "position_ids": positions_of(mask), "pixel_values": pixels}
        return generate(model, given)

    @pytest.mark.parametrize("name", ["cache", "past_key_values", "cache_params"])
    def test_the_cache_by_each_of_its_names(self, chat, name):
        model, _, inputs, first, ids, mask, hidden = chat
        second = generate(model, {"input_ids": ids, "attention_mask": mask, name: first.cache})
        masked = self.masked(model, inputs, ids, mask, hidden)
        assert torch.equal(second.sequences, masked.sequences)
        assert difference(second, masked) < 1e-4

    def test_of_two_caches_the_one_by_the_new_name_counts(self, chat):
        model, _, inputs, first, ids, mask, hidden = chat
        given = {"input_ids": ids, "attention_mask": mask, "cache": first.cache, "past_key_values": DynamicCache()}
        assert difference(generate(model, given), self.masked(model, inputs, ids, mask, hidden)) < 1e-4

    def test_after_an_answer_that_was_interrupted(self, chat):
        """The caller's cache holds a pruned prompt, whatever became of the call that filled it."""
        model, _, inputs, first, ids, mask, hidden = chat
        cache = DynamicCache(config=model.config.get_text_config())

        class Interrupted(Exception):
            pass

        class Streamer(BaseStreamer):
            said = 0

            def put(self, value):
                self.said += 1
                if self.said == 3:  # the prompt is the first
                    raise Interrupted

            def end(self):
                pass

        with pytest.raises(Interrupted):
            generate(model, inputs, cache=cache, streamer=Streamer())
        assert 0 < cache.get_seq_length() < first.cache.get_seq_length()
        second = generate(model, {"input_ids": ids, "attention_mask": mask, "cache": cache})
        assert difference(second, self.masked(model, inputs, ids, mask, hidden)) < 1e-4

    def test_all_tokens_given_again(self, chat):
        model, _, inputs, first, ids, mask, hidden = chat
        cache = copy.deepcopy(first.cache)
        for past in (first.cache, cache):
            second = generate(model, {"input_ids": ids, "attention_mask": mask, "cache": past})
            assert model.resprune.last == []
        third_ids = torch.cat([second.sequences, ids[:, -4:]], dim=1)
        third_mask = torch.nn.functional.pad(mask, (0, third_ids.shape[1] - mask.shape[1]), value=1)
        third = generate(model, {"input_ids": third_ids, "attention_mask": third_mask, "cache": cache})
        masked = self.masked(model, inputs, ids, mask, hidden)
        assert torch.equal(second.sequences, masked.sequences)
        assert difference(second, masked) < 1e-4
        hidden = torch.nn.functional.pad(hidden, (0, third_mask.shape[1] - mask.shape[1]), value=1)
        assert difference(third, self.masked(model, inputs, third_ids, third_mask, hidden)) < 1e-4

    def test_only_new_tokens_given(self, chat):
        model, _, inputs, first, ids, mask, hidden = chat
        past = first.cache
        start = inputs["input_ids"].shape[1] + ANSWER["max_new_tokens"] - 1  # the last token is not in the cache
        second = generate(model, {"input_ids": ids[:, start:], "attention_mask": mask, "cache": past})
        masked = self.masked(model, inputs, ids, mask, hidden)
        assert torch.equal(second.sequences, masked.sequences[:, start:])
        assert difference(second, masked) < 1e-4

    @pytest.mark.parametrize("new_only", [True, False])
    def test_with_all_tokens_no_bit_changes(self, tiny, new_only):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
        more = processor.tokenizer(self.MORE, add_special_tokens=False, return_tensors="pt").input_ids.expand(2, -1)

        def second_turn():
            first = generate(model, inputs)
            ids = torch.cat([first.sequences, more], dim=1)
            new = ids.shape[1] - inputs["input_ids"].shape[1]
            mask = torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1)
            ids = ids[:, first.cache.get_seq_length() :] if new_only else ids
            given = {"input_ids": ids, "attention_mask": mask, "cache": first.cache}
            return generate(model, given, repetition_penalty=1.5, output_scores=True)

        plain = second_turn()
        with resprune.pruned(model, processor, keep=1.0):
            same = second_turn()
        assert torch.equal(same.sequences, plain.sequences)
        assert torch.equal(torch.stack(same.scores), torch.stack(plain.scores))

    def test_after_several_answers(self, chat):
        model, processor, inputs, _, _, _, _ = chat
        first = generate(model, inputs, do_sample=True, num_return_sequences=2)
        hidden = hidden_mask(inputs, model.resprune.last).repeat_interleave(2, dim=0)
        more = processor.tokenizer(self.MORE, add_special_tokens=False, return_tensors="pt").input_ids.expand(4, -1)
        ids = torch.cat([first.sequences, more], dim=1)
        new = ids.shape[1] - hidden.shape[1]
        mask = torch.nn.functional.pad(inputs["attention_mask"].repeat_interleave(2, dim=0), (0, new), value=1)
        hidden = torch.nn.functional.pad(hidden, (0, new), value=1)
        given = {"input_ids": ids, "attention_mask": mask, "cache": first.cache}
        second = generate(model, given)
        inputs = inputs | {"pixel_values": inputs["pixel_values"].repeat_interleave(2, dim=0)}
        masked = self.masked(model, inputs, ids, mask, hidden)
        assert torch.equal(second.sequences, masked.sequences)
        assert difference(second, masked) < 1e-4

    def test_another_image(self, chat):
        model, processor, inputs, first, ids, mask, hidden = chat
        new = processor(images=[picture(7)], text=f"USER: <image>\n{QUESTIONS[1]} ASSISTANT:", return_tensors="pt")
        added = new["input_ids"][:, 1:]
        blank = processor.tokenizer("apple " * 50, add_special_tokens=False, return_tensors="pt").input_ids
        added = torch.cat([added, blank[:, : added.shape[1]]])  # the other row asks without an image
        ids = torch.cat([ids, added], dim=1)
        mask = torch.nn.functional.pad(mask, (0, added.shape[1]), value=1)
        given = {"input_ids": ids, "attention_mask": mask, "cache": first.cache}
        second = generate(model, given | {"pixel_values": new["pixel_values"]})
        assert [result.tokens_kept for result in model.resprune.last] == [9]

        tail = hidden_mask({"input_ids": added, "attention_mask": torch.ones_like(added)}, model.resprune.last)
        hidden = torch.cat([hidden, tail], dim=1)
        # The images of the full prompt are in the order of its rows.
        pixels = torch.stack([inputs["pixel_values"][0], new["pixel_values"][0], inputs["pixel_values"][1]])
        masked = self.masked(model, inputs | {"pixel_values": pixels}, ids, mask, hidden)
        assert torch.equal(second.sequences, masked.sequences)
        assert difference(second, masked) < 1e-4

    def test_a_cache_cut_back_to_before_the_image(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["one image"])
        with resprune.pruned(model, processor, keep=9):
            first = generate(model, inputs)
            first.cache.crop(3 - first.cache.get_seq_length())
            second = generate(model, inputs | {"cache": first.cache})
            assert [result.tokens_kept for result in model.resprune.last] == [9]
        assert torch.equal(second.sequences, first.sequences)
        assert difference(second, first) < 1e-4

    def test_a_cache_cut_inside_an_image_is_refused(self, chat):
        model, _, inputs, first, _, _, _ = chat
        first.cache.crop(12 - first.cache.get_seq_length())
        with pytest.raises(resprune.InputError, match="inside a pruned image"):
            generate(model, inputs | {"cache": first.cache})

    def test_a_cache_of_the_plain_model(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["one image"])
        cache = DynamicCache()
        first = generate(model, inputs, cache=cache)
        new = processor(images=[picture(7)], text=f"USER: <image>\n{QUESTIONS[1]} ASSISTANT:", return_tensors="pt")
        added = new["input_ids"][:, 1:]
        ids = torch.cat([first.sequences, added], dim=1)
        mask = torch.ones_like(ids)
        with resprune.pruned(model, processor, keep=9):
            given = {"input_ids": ids, "attention_mask": mask, "cache": cache}
            second = generate(model, given | {"pixel_values": new["pixel_values"]})
            results = model.resprune.last
        tail = hidden_mask({"input_ids": added, "attention_mask": torch.ones_like(added)}, results)
        hidden = torch.cat([mask[:, : -added.shape[1]], tail], dim=1)
        masked = self.masked(model, inputs, ids, mask, hidden, pixels=new["pixel_values"])
        assert difference(second, masked) < 1e-4

    def test_a_cache_of_which_nothing_is_known_is_told_apart(self, chat):
        model, _, inputs, first, ids, mask, hidden = chat
        given = {"input_ids": ids, "attention_mask": mask, "cache": first.cache}
        del first.cache._resprune_prompt
        second = generate(model, given)
        assert difference(second, self.masked(model, inputs, ids, mask, hidden)) > 1e-2
