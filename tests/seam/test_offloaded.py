"""Weights that accelerate has put aside: where the plain model works, the pruned one gives what it gives without."""

import accelerate
import pytest
import torch
import zoo
from prompts import GRID
from tiny import QUESTION, answer, picture, tiny_llava

import resprune
from resprune.compare import compare
from resprune.device import Span, device_of

CPU = torch.device("cpu")
WAYS = {
    "pruned": {},
    "mass": {"mass": True},
    "random": {"method": "random"},
    "text": {"method": "dart"},
    "fastv": {"method": "fastv"},
}
# What is put aside, and the rest of the model.
PARTS = {
    "the last layer and the head": ["model.language_model.layers.1", "lm_head"],
    "embeddings": ["model.language_model.embed_tokens"],
    "the language model": ["model.language_model", "lm_head"],
}


def put_aside(model, parts, folder):
    leaves = [
        *("model.vision_tower", "model.multi_modal_projector", "lm_head"),
        *(f"model.language_model.{n}" for n in ("embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb")),
    ]
    places = {name: "disk" if any(name.startswith(part) for part in parts) else "cpu" for name in leaves}
    accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=str(folder), force_hooks=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", PARTS)
def test_parts_on_a_disk(parts, way, tmp_path):
    model, processor = tiny_llava(grid=GRID)
    inputs = resprune.build_inputs(processor, picture(), QUESTION)
    plain = answer(model, inputs)
    with resprune.pruned(model, processor, keep=4, **WAYS[way]):
        expected = answer(model, inputs)
    assert way == "fastv" or not torch.equal(plain, expected)  # of two layers, none reads fewer tokens
    put_aside(model, PARTS[parts], tmp_path)
    assert torch.equal(answer(model, inputs), plain)
    with resprune.pruned(model, processor, keep=4, **WAYS[way]):
        assert torch.equal(answer(model, inputs), expected)
        assert all(result.select_ms >= 0 for result in model.resprune.last)


@pytest.mark.parametrize("way", ["pruned", "mass"])
def test_a_whole_model_in_memory(family, way):
    model, processor = zoo.tiny(family)
    made = resprune.build_inputs(processor, picture(0, 96, 64), "Is there a dog in the picture?")
    inputs = {name: value for name, value in made.items() if name != "labels"}
    with resprune.pruned(model, processor, keep=4, **WAYS[way]):
        expected = answer(model, inputs)
    accelerate.cpu_offload(model, execution_device=CPU)
    try:
        answer(model, inputs)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"the plain model does not work so: {error}")
    with resprune.pruned(model, processor, keep=4, **WAYS[way]):
        assert torch.equal(answer(model, inputs), expected)
        assert all(result.select_ms >= 0 for result in model.resprune.last)


def test_a_comparison_runs_on_such_a_model():
    model, processor = tiny_llava(grid=GRID)
    accelerate.cpu_offload(model, execution_device=CPU)
    *_, last = compare(model, processor, picture(), QUESTION, resprune.Settings.of(keep=4), max_new_tokens=3)
    assert last.stage == "done"


def test_where_a_model_works():
    model, _ = tiny_llava(grid=GRID)
    assert device_of(model) == model.device == CPU
    accelerate.cpu_offload(model, execution_device=CPU)
    assert (device_of(model), model.device.type) == (CPU, "meta")
    with pytest.raises(RuntimeError, match="meta"):
        Span(model.device)
