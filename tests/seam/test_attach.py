"""Attaching shows in nothing but the tokens that are left out, and detaching leaves nothing behind."""

import copy
import inspect

import pytest
import torch
import transformers
import zoo
from tiny import IMAGE, QUESTION, answer, picture, tiny_llava
from transformers import DynamicCache, GenerationConfig

import resprune
from resprune.methods import ResPrune

TOKENS = 36


class PeftModelForCausalLM(torch.nn.Module):
    """As PEFT wraps a model: its configuration and all else shine through."""

    def __init__(self, model):
        super().__init__()
        self.base_model = torch.nn.Module()
        self.base_model.model = model

    def get_base_model(self):
        return self.base_model.model

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base_model.model, name)


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
        said = r"^The model's generate has been replaced already; call resprune\.detach\(model\) first\.$"
        with pytest.raises(resprune.InputError, match=said):
            resprune.attach(attached, tiny[1], keep=4)
        assert vars(attached) == before
        answer(attached, inputs)
        assert attached.resprune.last[0].tokens_kept == 9

    @pytest.mark.parametrize("name", ["generate", "resprune"])
    def test_what_another_has_put_in_its_place_is_left_alone(self, tiny, name):
        model, processor = tiny
        setattr(model, name, other := object())
        with pytest.raises(resprune.InputError, match="replaced already"):
            resprune.attach(model, processor)
        resprune.detach(model)
        assert vars(model)[name] is other

    def test_without_a_budget_it_keeps_128_by_resprune(self, tiny):
        settings = resprune.attach(*tiny).resprune.settings
        assert (settings.keep, settings.method) == (128, ResPrune())

    @pytest.mark.parametrize(
        "settings", [{"keep": 0}, {"keep": 1.5}, {"method": "best"}, {"alpha": 1}, {"method": "resprune:sign=0"}]
    )
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

    def test_a_model_in_a_wrapper_is_told_how_to_get_out(self, tiny):
        model, processor = tiny
        lora = PeftModelForCausalLM(model)
        said = {
            r"A PeftModelForCausalLM cannot be pruned, but .* give model\.get_base_model\(\)\.": lora,
            r"A DataParallel cannot .* give model\.module\.": torch.nn.DataParallel(model),
            r"A OptimizedModule cannot .* give model\._orig_mod\.": torch.compile(model),
        }
        for message, wrapper in said.items():
            with pytest.raises(resprune.InputError, match=message):
                resprune.attach(wrapper, processor)
        assert resprune.attach(lora.get_base_model(), processor) is model

    @pytest.mark.parametrize(
        ("family", "name", "value"),
        [
            ("llava", "patch_size", 14),
            ("llava_next", "patch_size", 8),
            ("mistral3", "patch_size", 8),
            ("mistral3", "spatial_merge_size", None),
            ("llava_onevision", "num_image_tokens", None),
            ("internvl", "image_seq_length", None),
            ("idefics3", "image_seq_len", None),
            ("gemma3", "image_seq_length", None),
        ],
    )
    def test_a_processor_that_does_not_know_its_patches_is_told(self, family, name, value):
        model, processor = zoo.tiny(family)
        before = dict(vars(model))
        setattr(processor, name, None)
        told = (
            f"processor.{name} = {value}, as the model has it" if value else f"processor.{name} to what the model has"
        )
        with pytest.raises(resprune.InputError, match=f"^The processor's {name} is None; set {told}"):
            resprune.attach(model, processor)
        assert vars(model) == before
        with pytest.raises(resprune.InputError, match=f"^The processor's {name} is None"):
            resprune.boxes(processor, (90, 60), [(0, 0, 0)])

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

    def test_a_special_token_beyond_the_embedding_does_no_harm_until_a_prompt_has_it(self, tiny, inputs):
        model, processor = tiny
        plain = answer(model, inputs)
        free = model.get_input_embeddings().num_embeddings - len(processor.tokenizer)
        unused = [f"<unused{number}>" for number in range(free)]
        processor.tokenizer.add_special_tokens({"extra_special_tokens": [*unused, "<video>"]})
        beyond = processor.tokenizer.convert_tokens_to_ids("<video>")
        assert beyond == 384
        for method in ("resprune", "fastv"):
            with resprune.pruned(model, processor, keep=1.0, method=method):
                assert torch.equal(answer(model, inputs), plain)
                typed = resprune.build_inputs(processor, picture(), "What is <video>?")
                assert beyond not in typed["input_ids"]
                answer(model, typed)
                for strange in (beyond, -200):
                    wrong = inputs["input_ids"].clone()
                    wrong[0, -1] = strange
                    with pytest.raises(resprune.InputError, match=f"the token {strange} and the model knows .* to 383"):
                        answer(model, {**inputs, "input_ids": wrong})

    def test_padding_that_the_model_has_no_row_for_is_never_sent(self, tiny):
        """Llama's configurations give -1, and a pad token that was added to a tokenizer lies beyond the embedding."""
        model, processor = tiny
        prompts = ["USER: <image>\nIs there a dog? ASSISTANT:", "USER: <image>\nWho? ASSISTANT:"]
        batch = processor(images=[picture(0), picture(1)], text=prompts, padding=True, return_tensors="pt")
        with resprune.pruned(model, processor, keep=9):
            expected = answer(model, batch, use_cache=False)
            for strange in (-1, 1000):
                model.generation_config.pad_token_id = strange
                assert torch.equal(answer(model, batch, use_cache=False), expected)

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


class TestPassingThrough:
    def test_text_only_prompts_are_untouched(self, tiny):
        model, processor = tiny
        inputs = processor.tokenizer("USER: Is there a dog? ASSISTANT:", return_tensors="pt")
        plain = answer(model, inputs)
        resprune.attach(model, processor, keep=9)
        assert torch.equal(answer(model, inputs), plain)
        assert model.resprune.last == []

    def test_a_prompt_without_any_name_is_untouched(self, tiny):
        model, processor = tiny
        ids = processor.tokenizer("USER: Is there a dog? ASSISTANT:", return_tensors="pt").input_ids
        config = GenerationConfig(max_new_tokens=5, do_sample=False)
        plain = model.generate(ids, config)
        resprune.attach(model, processor, keep=9)
        assert torch.equal(model.generate(ids, config), plain)
        assert torch.equal(model.generate(inputs=ids, generation_config=config), plain)

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
        assert torch.equal(answer(attached, inputs, cache=cache), answer(attached, inputs))
        assert cache.get_seq_length() == inputs["input_ids"].shape[1] - TOKENS + 9 + 4

    def test_a_prompt_given_as_inputs_is_pruned_too(self, attached, inputs):
        rest = dict(inputs)
        ids = rest.pop("input_ids")
        assert torch.equal(answer(attached, rest | {"inputs": ids}), answer(attached, inputs))
        assert len(attached.resprune.last) == 1
        assert torch.equal(attached.generate(ids, **rest, max_new_tokens=4)[:, :-4], ids)
        assert attached.resprune.last[0].tokens_kept == 9

    def test_a_prompt_given_twice_is_refused_by_generate(self, attached, inputs):
        with pytest.raises(ValueError, match="were passed alongside"):
            attached.generate(inputs["input_ids"], **inputs, max_new_tokens=4)

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
