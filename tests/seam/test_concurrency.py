"""Several threads that generate with one model at a time: each answer is as alone, and the model is what it was."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import torch
import zoo
from asking import PICTURES, QUESTIONS, ask, difference, text_of
from transformers import LogitsProcessorList, StoppingCriteriaList

import resprune
from resprune.seam import attention

KEEP = 0.4
PATIENCE = 60  # seconds until a thread gives the others up
FULLY = resprune.Mass(alike=-1)
WAYS = {
    "pruned": {},
    "mass": {"mass": FULLY},
    "fastv": {"method": "fastv"},
    "saliency": {"method": "fastervlm"},
}
PAIRS = [
    *((family, way) for family in ("llava", "gemma3", "paligemma2", "qwen2_5_vl") for way in ("pruned", "mass")),
    ("llava", "fastv"),
    ("paligemma2", "fastv"),
    ("llava", "saliency"),
]


def questions(processor, count):
    """Inputs for as many calls, no two the same."""
    made = []
    for number in range(count):
        text = text_of(processor, f"{QUESTIONS[number % 2]} {number}")
        inputs = processor(images=[PICTURES[number % 3]], text=[text], return_tensors="pt")
        made.append({name: value for name, value in inputs.items() if name != "labels"})
    return made


def tower(model):
    return next(
        getattr(model.base_model, name) for name in ("vision_tower", "visual") if hasattr(model.base_model, name)
    )


@contextmanager
def in_step(model, count, seen=lambda: None):
    """As many threads encode, and make each forward pass, at the same time; ``seen`` is called in each pass."""
    barrier = threading.Barrier(count)

    def wait(*_):
        barrier.wait(PATIENCE)
        seen()

    modules = [tower(model), model.get_decoder(), *model.get_decoder().layers]
    hooks = [module.register_forward_pre_hook(wait) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def together(model, calls, seen=lambda: None):
    """Answers of ``calls``, functions without arguments, each in a thread of its own and all in step."""
    with in_step(model, len(calls), seen), ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def asking(model, asked):
    return [lambda inputs=inputs: ask(model, inputs) for inputs in asked]


def figures(model):
    """All that says how a model is configured, and which objects hold it."""
    text = model.config.get_text_config(decoder=True)
    names = tuple(module.config._attn_implementation for module in model.modules() if hasattr(module, "config"))
    return id(model.config), id(text), str(model.config.to_dict()), names


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize(("family", "way"), PAIRS)
def test_each_answer_is_as_alone(family, way, count):
    model, processor = zoo.tiny(family)
    asked, before = questions(processor, count), figures(model)
    with resprune.pruned(model, processor, keep=KEEP, **WAYS[way]):
        alone = [call() for call in asking(model, asked)]
        noted = []
        answers = together(model, asking(model, asked), seen=lambda: noted.append(figures(model)))
    assert all(difference(*pair) == 0 for pair in zip(answers, alone, strict=True))
    assert len(noted) >= count
    assert {*noted, figures(model)} == {before}


@pytest.mark.parametrize("way", ["mass", "fastv"])
def test_what_was_shared_by_threads_would_be_seen(way, monkeypatch):
    class Shared:
        """In place of a variable of the context: one for all threads."""

        def __init__(self):
            self.value = None

        def get(self):
            return self.value

        def set(self, value):
            before, self.value = self.value, value
            return before

        reset = set

    model, processor = zoo.tiny("llava")
    asked = questions(processor, 2)
    with resprune.pruned(model, processor, keep=KEEP, **WAYS[way]):
        alone = [call() for call in asking(model, asked)]
        monkeypatch.setattr(attention, "_CALL", Shared())
        answers = None
        with suppress(Exception):  # a crash would be noticed as well
            answers = together(model, asking(model, asked))
    assert answers is None or any(difference(*pair) > 0 for pair in zip(answers, alone, strict=True))


@pytest.mark.parametrize("family", ["llava", "gemma3", "paligemma2"])
@pytest.mark.parametrize("way", ["mass", "fastv"])
def test_a_plain_call_beside_it_is_plain(family, way):
    model, processor = zoo.tiny(family)
    asked = questions(processor, 2)
    plain = ask(model, asked[1])
    with resprune.pruned(model, processor, keep=KEEP, **WAYS[way]):
        alone = ask(model, asked[0])
        with_plain = [
            lambda: ask(model, asked[0]),
            lambda: type(model).generate(
                model, **asked[1], max_new_tokens=4, do_sample=False, output_logits=True, return_dict_in_generate=True
            ),
        ]
        pruned, beside = together(model, with_plain)
    assert difference(pruned, alone) == 0
    assert difference(beside, plain) == 0


@pytest.mark.parametrize("way", ["mass", "fastv"])
@pytest.mark.parametrize("which", ["the same model", "another model"])
def test_what_a_callback_asks_is_not_part_of_the_call(way, which):
    """As of contrastive decoding, whose processor runs a model by itself."""
    model, processor = zoo.tiny("llava")
    other = model if which == "the same model" else zoo.tiny("llava", seed=1)[0]
    asked, plainly = questions(processor, 2), []

    def logits():
        with torch.no_grad():
            return other(**asked[1]).logits

    plain = logits()

    class Streamer:
        def put(self, value):
            plainly.append(torch.equal(logits(), plain))

        def end(self):
            self.put(None)

    def processed(input_ids, scores):
        plainly.append(torch.equal(logits(), plain))
        return scores

    def stopped(input_ids, scores, **_):
        plainly.append(torch.equal(logits(), plain))
        return torch.zeros(len(input_ids), dtype=torch.bool)

    def allowed(row, ids):
        plainly.append(torch.equal(logits(), plain))
        return list(range(model.config.text_config.vocab_size))

    callbacks = {
        "streamer": Streamer(),
        "logits_processor": LogitsProcessorList([processed]),
        "stopping_criteria": StoppingCriteriaList([stopped]),
        "prefix_allowed_tokens_fn": allowed,
    }
    with resprune.pruned(model, processor, keep=KEEP, **WAYS[way]):
        alone = ask(model, asked[0])
        for name, callback in callbacks.items():
            before = len(plainly)
            assert difference(ask(model, asked[0], **{name: callback}), alone) == 0
            assert len(plainly) > before
    assert all(plainly)
