"""Attaching shows in nothing but the tokens that are left out, and detaching leaves nothing behind."""

import copy
import dataclasses
import gc
import inspect
import threading
import weakref

import pytest
import torch
import transformers
from tiny import IMAGE, picture, tiny_llava
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, StoppingCriteria, TextIteratorStreamer

import resprune

TOKENS = 36
QUESTION = "What animal is in the picture?"


@pytest.fixture
def inputs(tiny):
    return resprune.build_inputs(tiny[1], picture(), QUESTION)


@pytest.fixture
def attached(tiny):
    model, processor = tiny
    return resprune.attach(model, processor, keep=9)


def answer(model, inputs, **options):
    return model.generate(**inputs, **({"max_new_tokens": 5, "do_sample": False} | options))


class TestLifecycle:
    def test_detach_leaves_the_model_as_it_was(self, tiny, inputs):
        model, processor = tiny
        before, of_class, plain = dict(vars(model)), dict(vars(type(model))), answer(model, inputs)
        resprune.attach(model, processor, keep=9)
        assert not torch.equal(answer(model, inputs), plain)
        assert vars(model) != before
        assert resprune.detach(model) is model
        assert list(vars(model).items()) == list(before.items())
        assert dict(vars(type(model))) == of_class
        assert torch.equal(answer(model, inputs), plain)

    def test_detaching_a_plain_model_changes_nothing(self, tiny):
        before = dict(vars(tiny[0]))
        resprune.detach(tiny[0])
        assert vars(tiny[0]) == before

    def test_pruned_restores_also_after_an_exception(self, tiny):
        model, processor = tiny
        before = dict(vars(model))
        with pytest.raises(RuntimeError, match="on purpose"), resprune.pruned(model, processor, keep=9):
            assert "generate" in vars(model)
            raise RuntimeError("on purpose")
        assert vars(model) == before

    def test_attaching_twice_is_refused(self, attached, tiny, inputs):
        before = dict(vars(attached))
        with pytest.raises(resprune.InputError, match=r"detach\(model\) first"):
            resprune.attach(attached, tiny[1], keep=4)
        assert vars(attached) == before
        answer(attached, inputs)
        assert attached.resprune.last[0].tokens_kept == 9

    @pytest.mark.parametrize("settings", [{"keep": 0}, {"keep": 1.5}, {"method": "best"}, {"alpha": -1}, {"sign": 0}])
    def test_settings_out_of_range_are_refused(self, tiny, settings):
        model, processor = tiny
        before = dict(vars(model))
        with pytest.raises(resprune.InputError):
            resprune.attach(model, processor, **settings)
        assert vars(model) == before

    def test_models_of_no_supported_class_are_refused(self, tiny):
        model, processor = tiny
        for other in (model.model, model.model.language_model, torch.nn.Linear(1, 1), None):
            with pytest.raises(resprune.InputError, match="LlavaForConditionalGeneration"):
                resprune.attach(other, processor)

    def test_processors_of_another_model_are_refused(self, tiny):
        model, processor = tiny
        before = dict(vars(model))
        larger = copy.deepcopy(processor)
        larger.tokenizer.add_tokens([f"word{i}" for i in range(100)])
        other_token = copy.deepcopy(processor)
        other_token.image_token_id = 5
        clip = transformers.CLIPProcessor(processor.image_processor, processor.tokenizer)
        wrong = {
            "LlavaProcessor, not a CLIPProcessor": clip,
            "LlavaProcessor, not a TokenizersBackend": processor.tokenizer,
            "24 x 24 patches of an image and the model 6 x 6": tiny_llava(grid=24)[1],
            "vocabulary": larger,
            "same checkpoint": other_token,
        }
        for message, another in wrong.items():
            with pytest.raises(resprune.InputError, match=message):
                resprune.attach(model, another)
        assert vars(model) == before

    def test_a_copy_of_an_attached_model_prunes_by_itself(self, attached, inputs):
        expected = answer(attached, inputs)
        twin = copy.deepcopy(attached)
        resprune.detach(attached)
        with torch.no_grad():
            attached.lm_head.weight.zero_()
        assert torch.equal(answer(twin, inputs), expected)
        assert twin.resprune.last[0].tokens_kept == 9

    def test_generate_keeps_its_signature(self, attached):
        assert inspect.signature(attached.generate) == inspect.signature(type(attached).generate.__get__(attached))


class TestCallers:
    """Everything that speaks of the prompt speaks of the caller's."""

    def test_prompts_come_back_whole(self, attached, inputs):
        length = inputs["input_ids"].shape[1]
        for options in ({}, {"num_beams": 2, "num_return_sequences": 2}, {"return_dict_in_generate": True}):
            output = answer(attached, inputs, **options)
            sequences = output if isinstance(output, torch.Tensor) else output.sequences
            assert sequences.shape[1] == length + 5
            for row in sequences:
                assert torch.equal(row[:length], inputs["input_ids"][0])

    def test_inputs_may_be_positional(self, attached, inputs):
        ids, rest = inputs["input_ids"], {k: v for k, v in inputs.items() if k != "input_ids"}
        config = GenerationConfig(max_new_tokens=5, do_sample=False)
        assert torch.equal(attached.generate(ids, config, **rest), answer(attached, inputs))

    def test_a_missing_mask_is_made_as_generate_makes_it(self, tiny):
        model, processor = tiny
        prompts = [f"USER: <image>\n{question} ASSISTANT:" for question in (QUESTION, QUESTION + " How many dogs?")]
        inputs = processor(images=[picture(0), picture(1)], text=prompts, padding=True, return_tensors="pt")
        assert (inputs["attention_mask"] == 0).any()
        bare = {k: v for k, v in inputs.items() if k != "attention_mask"}
        # Where the pad token also ends texts, padding cannot be told from them.
        for ends in (None, 0):
            with resprune.pruned(model, processor, keep=1.0):
                ours = answer(model, bare, eos_token_id=ends, output_logits=True, return_dict_in_generate=True)
            plain = answer(model, bare, eos_token_id=ends, output_logits=True, return_dict_in_generate=True)
            assert torch.equal(torch.stack(ours.logits), torch.stack(plain.logits))
        resprune.attach(model, processor, keep=9)
        assert torch.equal(answer(model, bare), answer(model, inputs))

    @pytest.mark.parametrize("where", ["argument", "generation_config", "model.generation_config"])
    def test_lengths_count_the_callers_prompt(self, attached, inputs, where):
        prompt = inputs["input_ids"].shape[1]
        given = {"max_length": prompt + 4, "do_sample": False}
        config = GenerationConfig(**given)
        before = config.to_dict()
        if where == "argument":
            sequences = attached.generate(**inputs, **given)
        elif where == "generation_config":
            sequences = attached.generate(**inputs, generation_config=config)
        else:
            attached.generation_config.max_length = prompt + 4
            sequences = attached.generate(**inputs, do_sample=False)
        assert sequences.shape[1] == prompt + 4
        assert config.to_dict() == before

    def test_an_argument_beats_the_config(self, attached, inputs):
        prompt = inputs["input_ids"].shape[1]
        config = GenerationConfig(max_length=prompt + 9, do_sample=False)
        sequences = attached.generate(**inputs, generation_config=config, max_length=prompt + 3)
        assert sequences.shape[1] == prompt + 3
        assert config.max_length == prompt + 9

    def test_min_length_counts_the_callers_prompt(self, attached, inputs):
        prompt = inputs["input_ids"].shape[1]
        ends = answer(attached, inputs)[0, prompt].item()  # the model would end with its first token
        for wanted in (1, 3):
            row = answer(attached, inputs, eos_token_id=ends, min_length=prompt + wanted - 1)[0]
            assert ends not in row[prompt : prompt + wanted - 1]
        assert len(answer(attached, inputs, eos_token_id=ends)[0]) == prompt + 1

    def test_a_prompt_too_long_is_refused_in_the_callers_numbers(self, attached, inputs):
        prompt = inputs["input_ids"].shape[1]
        with pytest.raises(ValueError, match=f"is {prompt}, but `max_length` is set to {prompt - 1}"):
            attached.generate(**inputs, max_length=prompt - 1)

    @pytest.mark.parametrize("skip_prompt", [True, False])
    def test_streamers_receive_the_callers_prompt_first(self, tiny, inputs, skip_prompt):
        model, processor = tiny

        def streamed():
            streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=skip_prompt)
            thread = threading.Thread(target=answer, args=(model, inputs), kwargs={"streamer": streamer})
            thread.start()
            text = "".join(streamer)
            thread.join()
            return text

        plain = streamed()
        assert plain.count("<image>") == (0 if skip_prompt else TOKENS)
        with resprune.pruned(model, processor, keep=1.0):
            assert streamed() == plain
        with resprune.pruned(model, processor, keep=9):
            assert streamed().count("<image>") == plain.count("<image>")

    def test_processors_and_criteria_see_the_callers_prompt(self, attached, inputs):
        seen = []

        class WatchLogits(LogitsProcessor):
            def __call__(self, input_ids, scores):
                seen.append(input_ids.clone())
                return scores

        class WatchEnd(StoppingCriteria):
            def __call__(self, input_ids, scores, **kwargs):
                seen.append(input_ids.clone())
                return torch.full((len(input_ids),), input_ids.shape[1] == length + 3)

        def allowed(row, input_ids):
            seen.append(input_ids[None].clone())
            return list(range(384))

        length = inputs["input_ids"].shape[1]
        watch = {"logits_processor": [WatchLogits()], "stopping_criteria": [WatchEnd()]}
        for options in ({}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}):
            seen.clear()
            sequences = answer(attached, inputs, **watch, prefix_allowed_tokens_fn=allowed, **options)
            assert sequences.shape[1] == length + 3
            assert len(seen) >= 9
            for ids in seen:
                assert torch.equal(ids[:, :length], inputs["input_ids"].expand(len(ids), -1))

    def test_the_prefix_function_sees_its_own_row(self, tiny):
        model, processor = tiny
        prompts = [f"USER: <image>\n{question} ASSISTANT:" for question in (QUESTION, "How many red dogs are there?")]
        inputs = processor(images=[picture(0), picture(1)], text=prompts, padding=True, return_tensors="pt")

        def rows(**options):
            seen = set()

            def allowed(row, ids):
                seen.add((row, *ids.tolist()))
                return [5]

            answer(model, inputs, prefix_allowed_tokens_fn=allowed, **options)
            return seen

        for options in ({}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}):
            plain = rows(**options)
            with resprune.pruned(model, processor, keep=9):
                assert rows(**options) == plain

    def test_pipelines_work(self, tiny):
        model, processor = tiny
        chat = [
            {
                "role": "user",
                "content": [{"type": "image", "image": picture()}, {"type": "text", "text": QUESTION}],
            }
        ]
        pipeline = transformers.pipeline("image-text-to-text", model=model, processor=processor)

        def answered():
            return pipeline(text=chat, max_new_tokens=5, do_sample=False, return_full_text=False)[0]["generated_text"]

        plain = answered()
        with resprune.pruned(model, processor, keep=1.0):
            assert answered() == plain
        with resprune.pruned(model, processor, keep=9):
            assert answered() != plain
            assert model.resprune.last[0].tokens_kept == 9


class TestPassingThrough:
    def test_text_only_prompts_are_untouched(self, tiny):
        model, processor = tiny
        inputs = processor.tokenizer("USER: Is there a dog? ASSISTANT:", return_tensors="pt")
        plain = answer(model, inputs)
        resprune.attach(model, processor, keep=9)
        assert torch.equal(answer(model, inputs), plain)
        assert model.resprune.last == []

    def test_last_is_that_of_the_latest_call(self, attached, tiny, inputs):
        answer(attached, inputs)
        assert len(attached.resprune.last) == 1
        answer(attached, tiny[1].tokenizer("USER: Is there a dog? ASSISTANT:", return_tensors="pt"))
        assert attached.resprune.last == []

    def test_inputs_embeds_pass_through(self, tiny, inputs):
        model, processor = tiny
        embeds = {"inputs_embeds": model.get_input_embeddings()(torch.arange(4, 20)[None])}
        plain = answer(model, embeds)
        resprune.attach(model, processor, keep=9)
        assert torch.equal(answer(model, embeds), plain)

    def test_an_empty_cache_is_filled_with_the_kept_tokens(self, attached, inputs):
        cache = DynamicCache()
        assert torch.equal(answer(attached, inputs, past_key_values=cache), answer(attached, inputs))
        assert cache.get_seq_length() == inputs["input_ids"].shape[1] - TOKENS + 9 + 4

    def test_an_assistant_model_is_refused(self, attached, inputs):
        with pytest.raises(resprune.InputError, match="assistant_model"):
            answer(attached, inputs, assistant_model=tiny_llava(grid=6)[0])
        assert answer(attached, inputs).shape[0] == 1

    def test_pixels_beside_encoded_images_are_refused_by_generate(self, attached, inputs):
        with pytest.raises(ValueError, match="raw pixels and pre-computed"):
            answer(attached, inputs, mm_encoder_outputs={"image": resprune.encode(attached, inputs)})

    def test_images_that_do_not_fit_the_prompts_are_refused(self, attached, inputs):
        cut = {"input_ids": inputs["input_ids"][:, 5:], "attention_mask": inputs["attention_mask"][:, 5:]}
        two = {"pixel_values": inputs["pixel_values"].repeat(2, 1, 1, 1)}
        for wrong in (cut, two):
            with pytest.raises(resprune.InputError, match="do not truncate"):
                answer(attached, dict(inputs) | wrong)
        assert attached.resprune.last == []


class TestEncoding:
    def test_an_encoding_is_shared(self, tiny, inputs):
        model, processor = tiny
        plain = answer(model, inputs)
        runs = []
        model.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
        encoded = resprune.encode(model, inputs)
        text = {k: v for k, v in inputs.items() if k != "pixel_values"}
        assert torch.equal(answer(model, text, mm_encoder_outputs={"image": encoded}), plain)
        with resprune.pruned(model, processor, keep=9):
            shared = answer(model, text, mm_encoder_outputs={"image": encoded})
            assert len(runs) == 1
            assert torch.equal(answer(model, inputs), shared)
        assert [len(tokens) for tokens in encoded.pooler_output] == [TOKENS]

    def test_inputs_without_an_image_are_refused(self, tiny):
        with pytest.raises(resprune.InputError, match="no image"):
            resprune.encode(tiny[0], {"input_ids": torch.ones(1, 4, dtype=torch.long)})

    def test_a_cls_token_is_kept_but_never_counted(self):
        model, processor = tiny_llava(grid=6, strategy="full")
        inputs = resprune.build_inputs(processor, picture(), QUESTION)
        assert (inputs["input_ids"] == IMAGE).sum() == TOKENS + 1
        sent = []
        model.model.language_model.register_forward_pre_hook(
            lambda _, args, kwargs: sent.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        with resprune.pruned(model, processor, keep=9, method="subspace"):
            answer(model, inputs)
            (result,) = model.resprune.last
        assert (result.tokens_kept, result.tokens_total) == (9, TOKENS)
        patches = resprune.encode(model, inputs).pooler_output[0][1:]
        assert torch.equal(result.order, resprune.greedy_subspace(patches, 9).order)
        assert len(result.coords) == TOKENS
        cls = resprune.encode(model, inputs).pooler_output[0][0]
        assert sent[0].shape[1] == inputs["input_ids"].shape[1] - TOKENS + 9
        assert (sent[0][0] == cls).all(dim=1).sum() == 1


class TestResult:
    def test_what_it_tells(self, attached, inputs):
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
    def test_the_choice_is_that_of_the_method(self, attached, inputs, method):
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

    def test_settings_can_be_replaced(self, attached, inputs):
        answer(attached, inputs)
        first = attached.resprune.last[0]
        attached.resprune.settings = dataclasses.replace(attached.resprune.settings, keep=0.5, method="random", seed=3)
        answer(attached, inputs)
        (second,) = attached.resprune.last
        assert (second.tokens_kept, second.method) == (TOKENS // 2, "random")
        assert second.energy is None
        assert second.captured is None
        assert first.tokens_kept == 9

    def test_each_image_has_its_own(self, tiny):
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

    def test_notes_tell_what_the_user_should_know(self, tiny):
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

    def test_nothing_large_outlives_prefill(self, attached, inputs):
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

    def test_time_of_selection_covers_all_that_pruning_adds(self, attached, inputs, monkeypatch):
        """A clock that ticks once a reading, and by a thousand where nouns are found: their time must be in it."""
        clock = [0.0]

        def now(_):
            clock[0] += 1
            return clock[0]

        def slow(text):
            clock[0] += 1000
            return []

        monkeypatch.setattr("resprune.measure.now_ms", now)
        monkeypatch.setattr("resprune.prune.find_nouns", slow)
        answer(attached, inputs)
        assert 1000 < attached.resprune.last[0].select_ms < 1010

    def test_times_of_several_images_add_up(self, tiny, monkeypatch):
        model, processor = tiny
        prompt = "USER: <image><image>\nIs there a dog? ASSISTANT:"
        inputs = processor(images=[picture(0), picture(1)], text=prompt, return_tensors="pt")
        readings = iter([0, 10, 30, 40, 100, 110])  # of the whole, of one image, of the other, of the whole
        monkeypatch.setattr("resprune.measure.now_ms", lambda _: next(readings))
        with resprune.pruned(model, processor, keep=9):
            answer(model, inputs)
            assert [result.select_ms for result in model.resprune.last] == [35, 75]
