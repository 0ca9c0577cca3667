"""Prompts for the tiny LLaVA, ways to generate, and what a pruned answer is compared with."""

import torch
from tiny import IMAGE, picture

GRID = 6
TOKENS = GRID * GRID
QUESTIONS = ["What animal is in the picture?", "How many red apples are to the left of the cat in front of the house?"]
ANSWER = {"max_new_tokens": 6, "do_sample": False}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}

MODES = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "two of three beams": {"num_beams": 3, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "temperature": 3.0},
    "two samples": {"do_sample": True, "temperature": 3.0, "num_return_sequences": 2},
    "repetition penalty": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "static cache": {"cache_implementation": "static"},
    "prefill in chunks": {"prefill_chunk_size": 5},
    "no cache": {"use_cache": False},
}
PROMPTS = {
    "one image": [(0, 1)],
    "batch with padding": [(0, 1), (1, 1)],
    "two images in a prompt": [(0, 2), (1, 1)],
    "a row without image": [(1, 0), (0, 1)],
}


def prompt_inputs(processor, rows):
    """Inputs for rows of (question, number of images)."""
    text = []
    for question, images in rows:
        content = [{"type": "image"}] * images + [{"type": "text", "text": QUESTIONS[question]}]
        chat = [{"role": "user", "content": content}]
        text.append(processor.apply_chat_template(chat, add_generation_prompt=True))
    images = [picture(seed) for seed in range(sum(count for _, count in rows))]
    return dict(processor(images=images, text=text, return_tensors="pt", padding=True))


def hidden_mask(inputs, results):
    """The caller's mask with the columns of dropped tokens hidden, by where the results say that the kept ones lie."""
    kept = torch.zeros(len(results), TOKENS, dtype=torch.long)
    for image, result in enumerate(results):
        for _, row, col in result.kept:
            kept[image, row * GRID + col] = 1
    mask = inputs["attention_mask"].clone()
    mask[inputs["input_ids"] == IMAGE] = kept.flatten()
    return mask


def positions_of(mask):
    return (mask.cumsum(1) - 1).clamp_min(0)


def generate(model, inputs, seed=1, **options):
    torch.manual_seed(seed)
    return model.generate(**inputs, **(ANSWER | LOGITS | options))


def difference(one, other):
    """Largest difference of logits over all steps of two answers of the same length."""
    assert len(one.logits) == len(other.logits) == ANSWER["max_new_tokens"]
    return max((a - b).abs().max().item() for a, b in zip(one.logits, other.logits, strict=True))
