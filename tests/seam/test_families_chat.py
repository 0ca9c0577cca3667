"""Every family: chats that go on from a KV cache, and what a question and a processor must be."""

import pytest
import torch
import zoo
from asking import ONE, PICTURES, QUESTIONS, ask, difference, hidden, inputs_of, masked, member, text_of
from torch.nn.functional import pad

import resprune
from resprune.question.prompt import build_inputs, question_of

KEEP = 0.4
MORE = " Is there a tree near the house?"


@pytest.fixture
def tiny(family):
    return member(family)


def longer(model, inputs, ids):
    """The inputs of a prompt whose ids go on: text and answers in the mask, and in what tells text from images."""
    new = ids.shape[1] - inputs["input_ids"].shape[1]
    grown = {**inputs, "input_ids": ids, "attention_mask": pad(inputs["attention_mask"], (0, new), value=1)}
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in inputs:
            grown[name] = (ids == model.config.image_token_id).to(inputs[name].dtype)
    if model.config.model_type == "paligemma":  # what follows a prefix is causal
        grown["token_type_ids"] = pad(inputs["token_type_ids"], (0, new), value=1)
    return grown


def joined(model, one, two):
    """The pictures of two calls as those of one."""
    dim = 1 if model.config.model_type in ("idefics3", "smolvlm") else 0
    names = ("pixel_values", "pixel_attention_mask", "image_sizes", "image_grid_thw", "batch_num_images")
    return {name: torch.cat([one[name], two[name]], dim=dim if "pixel" in name else 0) for name in names if name in one}


class TestChat:
    def go_on(self, model, processor, inputs, between=None):
        """Two turns; the ids of both, the second answer, and the mask of the first prompt without what was dropped."""
        with resprune.pruned(model, processor, keep=KEEP):
            first = ask(model, inputs)
            mask = hidden(model, inputs, model.resprune.last)
            if between is not None:
                ask(model, between)
            more = processor.tokenizer(MORE, add_special_tokens=False, return_tensors="pt").input_ids
            ids = torch.cat([first.sequences, more], dim=1)
            given = {name: longer(model, inputs, ids)[name] for name in ("input_ids", "attention_mask")}
            second = ask(model, {**given, "cache": first.cache})
            assert model.resprune.last == []
        return ids, second, pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)

    def test_a_second_turn(self, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        ids, second, mask = self.go_on(model, processor, inputs)
        whole = longer(model, inputs, ids)
        reference = masked(model, whole, mask)
        assert torch.equal(second.sequences, reference.sequences)
        assert difference(second, reference) < 1e-3
        assert difference(second, masked(model, whole, whole["attention_mask"])) > 1e-2

    def test_another_call_in_between(self, tiny):
        """Models with mRoPE note the lengths of the latest call on themselves; a cache goes by its own."""
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        between = dict(build_inputs(processor, PICTURES[1], QUESTIONS[1]))
        between.pop("labels", None)
        alone, disturbed = (self.go_on(model, processor, inputs, other)[1] for other in (None, between))
        assert difference(alone, disturbed) == 0

    def test_a_second_turn_with_another_image(self, tiny):
        model, processor = tiny
        if model.config.model_type == "paligemma":
            pytest.skip("PaliGemma sees pictures only in front of a text")
        inputs = inputs_of(processor, ONE)
        text = text_of(processor, QUESTIONS[1])
        other = dict(processor(images=[[PICTURES[0].rotate(180)]], text=[text], return_tensors="pt"))
        with resprune.pruned(model, processor, keep=KEEP):
            first = ask(model, inputs)
            results = model.resprune.last
            ids = torch.cat([first.sequences, other["input_ids"]], dim=1)
            given = longer(model, inputs, ids) | {name: other[name] for name in joined(model, inputs, other)}
            second = ask(model, {**given, "cache": first.cache})
            results = results + model.resprune.last
        whole = longer(model, inputs, ids) | joined(model, inputs, other)
        assert len(results) == 2
        reference = masked(model, whole, hidden(model, whole, results))
        assert torch.equal(second.sequences, reference.sequences)
        assert difference(second, reference) < 1e-3
        wrong = masked(model, whole, hidden(model, whole, results[:1] * 2))
        assert difference(second, wrong) > 1e-2 or results[0].kept == results[1].kept


class TestPrompts:
    @pytest.mark.parametrize("question", [*QUESTIONS, "Who says <image> or </s> to the user?"])
    def test_a_question_is_found_again(self, tiny, question):
        """Without a word of the template, which would be a noun, and with special tokens as the text they are."""
        _, processor = tiny
        inputs = build_inputs(processor, PICTURES[0], question)
        assert question_of(processor, inputs["input_ids"][0]) == question

    def test_special_tokens_in_a_question_bring_no_image(self, tiny):
        model, processor = tiny
        token = processor.tokenizer.convert_ids_to_tokens(model.config.image_token_id)
        plain, typed = (build_inputs(processor, PICTURES[0], f"What is {word}?") for word in ("this", token))
        count = [(inputs["input_ids"] == model.config.image_token_id).sum().item() for inputs in (plain, typed)]
        assert count[0] == count[1] > 0

    def test_a_template_that_ends_turns_with_the_end_of_text(self):
        processor = zoo.tiny("internvl")[1]
        processor.tokenizer.eos_token = "<|im_end|>"
        processor.chat_template = "<|im_start|>system\nBe brief.<|im_end|>\n" + processor.chat_template
        ids = build_inputs(processor, PICTURES[0], "What is <img>?")["input_ids"][0]
        text = processor.decode(ids)
        assert text.endswith("\nWhat is <img>?<|im_end|>\n<|im_start|>assistant\n")
        assert (ids == processor.start_image_token_id).sum() == 1

    @pytest.mark.parametrize("system", ["", "You are a pirate with a parrot."])
    def test_the_last_question_of_a_chat_counts(self, tiny, system):
        """And no word of a text of the system, however many turns there are."""
        model, processor = tiny
        if not processor.chat_template:
            pytest.skip("no chats")
        said = self.said(processor, "A dog.")
        chat = [
            self.turn("user", QUESTIONS[0]),
            {"role": "assistant", "content": said},
            self.turn("user", QUESTIONS[1]),
        ]
        chat[0]["content"].insert(0, {"type": "image"})
        for turns, question in ((chat, QUESTIONS[1]), (chat[:1], QUESTIONS[0])):
            turns = [self.turn("system", system), *turns] if system else turns
            text = processor.apply_chat_template(turns, add_generation_prompt=True)
            assert system in text
            ids = processor(images=[[PICTURES[0]]], text=[text])["input_ids"][0]
            whole = (
                len(turns) == 2 and model.config.model_type == "gemma3"
            )  # its template gives those words to the user
            assert question_of(processor, ids) == (f"{system} {question}" if whole else question)

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_chat_that_goes_on_from_the_models_own_words(self, tiny, ended):
        """The ids of an answer as the model gave it, which ends as its text ends or was cut off."""
        _, processor = tiny
        if not processor.chat_template:
            pytest.skip("no chats")
        tokenizer = processor.tokenizer
        ids = build_inputs(processor, PICTURES[0], QUESTIONS[0])["input_ids"][0].tolist()
        ids += tokenizer("A dog.", add_special_tokens=False).input_ids + [tokenizer.eos_token_id] * ended
        more = processor.apply_chat_template([self.turn("user", QUESTIONS[1])], add_generation_prompt=True)
        ids += tokenizer(more, add_special_tokens=False).input_ids
        assert question_of(processor, ids) == QUESTIONS[1]

    def turn(self, role, text):
        return {"role": role, "content": [{"type": "text", "text": text}]}

    def said(self, processor, text):
        """An answer as a template takes it."""
        return text if "message['content'] }}" in processor.chat_template else self.turn("", text)["content"]


class TestProcessors:
    def test_that_of_another_family_is_refused(self, family, tiny):
        model, processor = tiny
        for other in zoo.FAMILIES:
            if type(member(other)[1]) is not type(processor):
                with pytest.raises(resprune.InputError, match="needs its"):
                    resprune.attach(model, member(other)[1])
        assert "resprune" not in vars(model)

    def test_one_that_cuts_images_otherwise_is_refused(self, family):
        model, processor = zoo.tiny(family)
        images, family = processor.image_processor, model.config.model_type
        if family in ("llava", "llava_next", "mistral3"):
            processor.patch_size //= 2
        elif family == "llava_onevision":
            processor.num_image_tokens = 64
        elif family in ("gemma3", "paligemma", "paligemma2", "internvl"):
            processor.image_seq_length = 64
        elif family in ("idefics3", "smolvlm"):
            processor.image_seq_len = 64
        else:
            images.patch_size = 16
        with pytest.raises(resprune.InputError, match="load both from the same checkpoint"):
            resprune.attach(model, processor)

    def test_missing_sizes_are_told(self, family, tiny):
        model, processor = tiny
        inputs = inputs_of(processor, ONE)
        name = next((name for name in ("image_grid_thw", "image_sizes") if name in inputs), None)
        if name is None:
            pytest.skip("the prompt tells all")
        encoded = {"mm_encoder_outputs": {"image": resprune.encode(model, inputs)}}
        rest = {key: value for key, value in inputs.items() if key not in (name, "pixel_values")}
        with resprune.pruned(model, processor, keep=KEEP), pytest.raises(resprune.InputError, match=f"no {name}"):
            ask(model, rest | encoded)
