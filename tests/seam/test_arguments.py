"""Everything that speaks of the prompt speaks of the caller's: outputs, lengths, streamers, whoever watches a step."""

import threading

import pytest
import torch
import transformers
from tiny import QUESTION, answer, picture
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria, TextIteratorStreamer

import resprune

TOKENS = 36


def test_prompts_come_back_whole(attached, inputs):
    length = inputs["input_ids"].shape[1]
    for options in ({}, {"num_beams": 2, "num_return_sequences": 2}, {"return_dict_in_generate": True}):
        output = answer(attached, inputs, **options)
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        assert sequences.shape[1] == length + 5
        for row in sequences:
            assert torch.equal(row[:length], inputs["input_ids"][0])


def test_inputs_may_be_positional(attached, inputs):
    ids, rest = inputs["input_ids"], {k: v for k, v in inputs.items() if k != "input_ids"}
    config = GenerationConfig(max_new_tokens=5, do_sample=False)
    assert torch.equal(attached.generate(ids, config, **rest), answer(attached, inputs))


def test_a_missing_mask_is_made_as_generate_makes_it(tiny):
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
def test_lengths_count_the_callers_prompt(attached, inputs, where):
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


def test_an_argument_beats_the_config(attached, inputs):
    prompt = inputs["input_ids"].shape[1]
    config = GenerationConfig(max_length=prompt + 9, do_sample=False)
    sequences = attached.generate(**inputs, generation_config=config, max_length=prompt + 3)
    assert sequences.shape[1] == prompt + 3
    assert config.max_length == prompt + 9


def test_min_length_counts_the_callers_prompt(attached, inputs):
    prompt = inputs["input_ids"].shape[1]
    ends = answer(attached, inputs)[0, prompt].item()  # the model would end with its first token
    for wanted in (1, 3):
        row = answer(attached, inputs, eos_token_id=ends, min_length=prompt + wanted - 1)[0]
        assert ends not in row[prompt : prompt + wanted - 1]
    assert len(answer(attached, inputs, eos_token_id=ends)[0]) == prompt + 1


def test_a_prompt_too_long_is_refused_in_the_callers_numbers(attached, inputs):
    prompt = inputs["input_ids"].shape[1]
    with pytest.raises(ValueError, match=f"is {prompt}, but `max_length` is set to {prompt - 1}"):
        attached.generate(**inputs, max_length=prompt - 1)


@pytest.mark.parametrize("skip_prompt", [True, False])
def test_streamers_receive_the_callers_prompt_first(tiny, inputs, skip_prompt):
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


def test_processors_and_criteria_see_the_callers_prompt(attached, inputs):
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


def test_the_prefix_function_sees_its_own_row(tiny):
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


def test_pipelines_work(tiny):
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
