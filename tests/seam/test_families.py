"""Every family, every way to ask: nothing changes with all tokens, and below nothing but the tokens left out."""

import threading

import pytest
import torch
import zoo
from asking import (
    BATCH,
    ONE,
    PICTURES,
    QUESTIONS,
    STEPS,
    TWO,
    ask,
    difference,
    hidden,
    inputs_of,
    masked,
    member,
    positions,
)
from transformers import TextIteratorStreamer, pipeline

import resprune
from resprune.seam.windows import Windows

KEEP = 0.4
PROMPTS = {"one": ONE, "batch": BATCH, "two-images": TWO}
MODES = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "samples": {"do_sample": True, "temperature": 3.0, "num_return_sequences": 2},
    "static": {"cache_implementation": "static"},
    "chunks": {"prefill_chunk_size": 7},
}

# What the plain model cannot do: PaliGemma 2 makes two masks of a static cache where it then expects one.
IMPOSSIBLE = {("paligemma2", "batch", "static")}
# Where the plain model itself is not one and the same function of what it sees:
OF_THE_MODEL = IMPOSSIBLE | {
    # A chunk ends the sight of tokens that look both ways, and a shorter prompt is cut elsewhere.
    ("gemma3", "batch", "chunks"),
    ("paligemma", "batch", "chunks"),
    ("paligemma2", "batch", "chunks"),
    # GLM repeats the pictures of a prompt one by one for beams, which mixes them up.
    ("glm4v", "two-images", "beams"),
}

both = pytest.mark.parametrize(
    ("rows", "mode"),
    [("one", "greedy"), ("two-images", "greedy"), ("two-images", "beams"), *(("batch", mode) for mode in MODES)],
)


@pytest.fixture
def tiny(family):
    """(model, processor), which a test leaves as they were."""
    return member(family)


class TestExactness:
    @both
    def test_with_all_tokens_no_bit_changes(self, family, tiny, rows, mode):
        if (family, rows, mode) in IMPOSSIBLE:
            pytest.skip("the plain model cannot, see IMPOSSIBLE")
        model, processor = tiny
        inputs = inputs_of(processor, PROMPTS[rows])
        plain = ask(model, inputs, **MODES[mode])
        with resprune.pruned(model, processor, keep=1.0):
            same = ask(model, inputs, **MODES[mode])
        assert torch.equal(same.sequences, plain.sequences)
        assert difference(same, plain) == 0

    @both
    def test_pruned_equals_the_masked_full_prompt(self, family, tiny, rows, mode):
        if (family, rows, mode) in OF_THE_MODEL:
            pytest.skip("the plain model does not, see OF_THE_MODEL")
        model, processor = tiny
        inputs = inputs_of(processor, PROMPTS[rows])
        with resprune.pruned(model, processor, keep=KEEP):
            pruned = ask(model, inputs, **MODES[mode])
            mask = hidden(model, inputs, model.resprune.last)
        reference = masked(model, inputs, mask, **MODES[mode])
        assert torch.equal(pruned.sequences, reference.sequences)
        assert difference(pruned, reference) < 1e-3

    @pytest.mark.parametrize("wrong", ["token", "positions", "nothing"])
    def test_the_masked_full_prompt_tells_a_mistake(self, tiny, wrong):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        with resprune.pruned(model, processor, keep=KEEP):
            pruned = ask(model, inputs)
            mask = hidden(model, inputs, model.resprune.last)
        where = positions(model, inputs)
        if wrong == "positions":
            is_image = inputs["input_ids"] == model.config.image_token_id
            where[..., is_image[0].nonzero()[-1, 0] + 1 :] -= 1  # the text a step nearer, as if one token were gone
        elif wrong == "token":
            columns = (inputs["input_ids"] == model.config.image_token_id)[0].nonzero()[:, 0]
            swapped = [columns[mask[0, columns] == visible][0] for visible in (0, 1)]
            mask[0, swapped] = 1 - mask[0, swapped]
        other = ask(model, {**inputs, "attention_mask": mask, "position_ids": where})
        assert (difference(pruned, other) > 1e-2) == (wrong != "nothing")

    def test_a_cache_changes_nothing(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, BATCH)
        with resprune.pruned(model, processor, keep=KEEP):
            cached = ask(model, inputs)
            assert difference(ask(model, inputs, use_cache=False), cached) < 1e-3
            inputs["input_ids"][:, -1] += 1
            assert difference(ask(model, inputs, use_cache=False), cached) > 1e-2

    def test_encoded_images_are_shared(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, BATCH)
        rest = {name: value for name, value in inputs.items() if name != "pixel_values"}

        def answers():
            given = {**rest, "mm_encoder_outputs": {"image": resprune.encode(model, inputs)}}
            return ask(model, inputs), ask(model, given)

        plain, shared = answers()
        assert difference(plain, shared) == 0
        with resprune.pruned(model, processor, keep=KEEP):
            pruned, shared = answers()
        assert difference(pruned, shared) == 0
        assert difference(pruned, plain) > 1e-2


class TestCallers:
    def test_detaching_leaves_no_trace(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        plain = ask(model, inputs)
        before, of_class = dict(vars(model)), dict(vars(type(model)))
        with resprune.pruned(model, processor, keep=KEEP):
            assert difference(ask(model, inputs), plain) > 1e-2
            assert vars(model) != before
        assert list(vars(model).items()) == list(before.items())
        assert dict(vars(type(model))) == of_class
        assert difference(ask(model, inputs), plain) == 0

    def test_lengths_and_prompts_are_the_callers(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, BATCH)
        prompt = inputs["input_ids"].shape[1]
        with resprune.pruned(model, processor, keep=KEEP):
            sequences = model.generate(**inputs, max_length=prompt + 3, do_sample=False)
            assert torch.equal(sequences[:, :prompt], inputs["input_ids"])
            assert sequences.shape[1] == prompt + 3
            assert torch.equal(ask(model, inputs, max_new_tokens=3).sequences, sequences)

    def test_streamers_see_the_callers_prompt(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)

        def streamed():
            streamer = TextIteratorStreamer(processor.tokenizer)
            options = {"max_new_tokens": 3, "do_sample": False, "streamer": streamer}
            thread = threading.Thread(target=model.generate, kwargs={**inputs, **options})
            thread.start()
            text = "".join(streamer)
            thread.join()
            return text

        prompt = processor.tokenizer.decode(inputs["input_ids"][0])
        with resprune.pruned(model, processor, keep=KEEP):
            text = streamed()
        assert text.startswith(prompt.rpartition(" ")[0])  # the streamer waits for a space; bytes change what is behind
        assert len(text) > len(prompt)

    def test_text_alone_passes_through(self, tiny):
        model, processor = tiny
        inputs = processor.tokenizer(QUESTIONS, return_tensors="pt", padding=True)
        plain = ask(model, inputs)
        with resprune.pruned(model, processor, keep=KEEP):
            assert difference(ask(model, inputs), plain) == 0
            assert model.resprune.last == []

    def test_pipelines_work(self, tiny):
        model, processor = tiny
        if not processor.chat_template:
            asked = {"text": processor.image_token + QUESTIONS[0], "images": [PICTURES[0]]}
        else:
            content = [{"type": "image", "image": PICTURES[0]}, {"type": "text", "text": QUESTIONS[0]}]
            asked = {"text": [{"role": "user", "content": content}]}
        pipe = pipeline("image-text-to-text", model=model, processor=processor)

        def answered():
            options = {"max_new_tokens": STEPS, "do_sample": False, "return_full_text": False}
            return pipe(**asked, **options)[0]["generated_text"]

        plain = answered()
        with resprune.pruned(model, processor, keep=1.0):
            assert answered() == plain
        with resprune.pruned(model, processor, keep=KEEP):
            answered()
            (result,) = model.resprune.last
        assert result.tokens_kept == max(1, round(KEEP * result.tokens_total)) < result.tokens_total

    def test_an_assistant_model_is_refused(self, tiny):
        model, processor = tiny
        with (
            resprune.pruned(model, processor, keep=KEEP),
            pytest.raises(resprune.InputError, match="assistant_model"),
        ):
            ask(model, inputs_of(processor, ONE), assistant_model=model)

    @pytest.mark.parametrize("video", ["pixel_values_videos", "video_grid_thw", "encoded"])
    def test_a_video_is_refused(self, tiny, video):
        model, processor = tiny
        given = {"mm_encoder_outputs": {"video": {1: 1}}} if video == "encoded" else {video: torch.ones(1, 3)}
        with resprune.pruned(model, processor, keep=KEEP), pytest.raises(resprune.InputError, match="video"):
            ask(model, {**inputs_of(processor, ONE), **given})

    def test_truncated_prompts_are_refused(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        start = int((inputs["input_ids"] == model.config.image_token_id)[0].nonzero()[0]) + 1
        cut = {name: inputs[name][:, start:] for name in ("input_ids", "attention_mask")}
        with resprune.pruned(model, processor, keep=KEEP), pytest.raises(resprune.InputError, match="do not truncate"):
            ask(model, inputs | cut)


class TestBudget:
    def test_it_is_that_of_an_image(self, tiny):
        """Not of a tile, nor of a prompt; structural tokens are not counted."""
        model, processor = tiny
        with resprune.pruned(model, processor, keep=3):
            ask(model, inputs_of(processor, [(0, 2), (1, 1)]))
            results = model.resprune.last
        assert [(result.tokens_kept, len(result.kept)) for result in results] == [(3, 3)] * 3
        assert all((result.coords[:, 0] >= 0).all() for result in results)
        assert all(len({tuple(place) for place in r.coords.tolist()}) == r.tokens_total for r in results)
        assert [result.nouns for result in results] == [["animal", "picture"]] * 2 + [["apples", "cat", "house"]]


class TestTiles:
    """One budget an image, and what fell on each of its tiles is told."""

    def test_the_split_adds_up_to_the_budget(self, family):
        model, processor = member(family)
        with resprune.pruned(model, processor, keep=9):
            ask(model, inputs_of(processor, ONE))
            (result,) = model.resprune.last
        assert sum(kept for kept, _ in result.tiles.values()) == result.tokens_kept == 9
        assert sum(total for _, total in result.tiles.values()) == result.tokens_total
        assert all(0 <= kept <= total for kept, total in result.tiles.values())
        told = [note for note in result.notes if note.startswith("Kept in tiles 0: ")]
        assert len(told) == (len(result.tiles) > 1)


class TestWindows:
    """A sliding window counts the columns that the caller wrote, not those that were sent."""

    WINDOW = 24

    @pytest.fixture
    def windowed(self):
        model, processor = zoo.tiny("gemma3")
        model.config.text_config.sliding_window = self.WINDOW
        sliding = [layer.self_attn for layer in model.get_decoder().layers if layer.self_attn.sliding_window]
        assert sliding
        for attention in sliding:
            attention.sliding_window = self.WINDOW
        return model, processor

    @pytest.mark.parametrize("rows", ["one", "batch"])
    @pytest.mark.parametrize("mass", [False, True])
    def test_pruned_equals_the_masked_full_prompt(self, windowed, rows, mass, monkeypatch):
        model, processor = windowed
        inputs = inputs_of(processor, PROMPTS[rows])
        assert inputs["input_ids"].shape[1] > 1.2 * self.WINDOW
        # a mass of one each, so that the oracle needs no bias
        monkeypatch.setattr("resprune.seam.prune.mass_from_gram", lambda gram, kept, alike: torch.ones(len(kept)))
        with resprune.pruned(model, processor, keep=KEEP, mass=mass):
            pruned = ask(model, inputs)
            mask = hidden(model, inputs, model.resprune.last)
        reference = masked(model, inputs, mask)
        assert difference(pruned, reference) < 1e-3

    @pytest.mark.parametrize("which", ["gemma3", "paligemma2"])
    def test_a_window_of_what_is_sent_would_be_seen(self, which, request, monkeypatch):
        # Those of PaliGemma 2 are narrow already.
        model, processor = request.getfixturevalue("windowed") if which == "gemma3" else zoo.tiny(which)
        inputs = inputs_of(processor, ONE)
        monkeypatch.setattr("resprune.seam.mass_attention._has_windows", lambda model: False)
        with resprune.pruned(model, processor, keep=KEEP):
            pruned = ask(model, inputs)
            mask = hidden(model, inputs, model.resprune.last)
        assert difference(pruned, masked(model, inputs, mask)) > 1e-2

    def test_what_is_seen_both_ways_is_seen_beyond_a_window(self, monkeypatch):
        """In PaliGemma 2, whose windows do not cut its prefix."""
        model, processor = zoo.tiny("paligemma2")
        inputs = inputs_of(processor, [(1, 1)])  # long enough that what stays of the image lies beyond the last windows
        options = Windows.options
        monkeypatch.setattr(Windows, "options", lambda self, given: options(self, given | {"local_size": None}))
        with resprune.pruned(model, processor, keep=KEEP):
            cut = ask(model, inputs)
            mask = hidden(model, inputs, model.resprune.last)
        assert difference(cut, masked(model, inputs, mask)) > 1e-2
