"""Asking the small models of the zoo: prompts, answers, and the plain model that a pruned one must equal."""

from functools import cache

import torch
import zoo
from tiny import picture

from resprune.seam.encoding import Images, encode

QUESTIONS = ["What animal is in the picture?", "How many red apples are there near the old cat and the house?"]
PICTURES = [picture(0, 90, 60), picture(1, 50, 100), picture(2, 64, 64)]
ONE, TWO, BATCH = [(0, 1)], [(0, 2)], [(0, 1), (1, 1)]  # rows of (question, number of images)
STEPS = 4

member = cache(zoo.tiny)


def text_of(processor, question, images=1):
    """A prompt of one turn, by the processor's template, or bare where it has none."""
    if not processor.chat_template:
        return processor.image_token * images + question
    content = [{"type": "image"}] * images + [{"type": "text", "text": question}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def inputs_of(processor, rows):
    """Inputs for rows of (question, number of images), each of another size."""
    text = [text_of(processor, QUESTIONS[question], images) for question, images in rows]
    left = iter(PICTURES)
    images = [[next(left) for _ in range(count)] for _, count in rows]
    made = processor(images=images, text=text, return_tensors="pt", padding=True)
    return {name: value for name, value in made.items() if name != "labels"}


def ask(model, inputs, seed=1, **options):
    """An answer of :data:`STEPS` tokens with its logits."""
    torch.manual_seed(seed)
    given = {"max_new_tokens": STEPS, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    return model.generate(**inputs, **(given | options))


def difference(one, other):
    """Largest difference of logits over all steps."""
    assert len(one.logits) == len(other.logits) == STEPS
    return max((a - b).abs().max().item() for a, b in zip(one.logits, other.logits, strict=True))


def hidden(model, inputs, results):
    """``[B, S]``, the caller's mask without the tokens that were dropped, by what the results say was kept."""
    stays = []
    for coords, result in zip(Images.of(model, encode(model, inputs), inputs).coords, results, strict=True):
        kept = set(result.kept)
        stays += [tile < 0 or (tile, row, col) in kept for tile, row, col in coords.tolist()]
    mask = inputs["attention_mask"].clone()
    mask[inputs["input_ids"] == model.config.image_token_id] = torch.tensor(stays, device=mask.device).long()
    return mask


def positions(model, inputs):
    """Those that the model itself gives the whole prompt."""
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    return model._prepare_position_ids_for_generation(inputs["input_ids"], rest)


def masked(model, inputs, mask, **options):
    """What a pruned answer must equal: the plain model's with columns hidden, all others where they were."""
    return ask(model, {**inputs, "attention_mask": mask, "position_ids": positions(model, inputs)}, **options)
