"""Copies and pickles of an attached model prune as it does; what it saves is the plain model."""

import copy
import io
import pickle

import pytest
import torch
from prompts import GRID
from tiny import QUESTION, answer, picture, tiny_llava

import resprune

BUDGET = 9


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_torch(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {"pickle": by_pickle, "torch.save": by_torch, "deepcopy": copy.deepcopy}


@pytest.fixture(scope="module")
def expected():
    """Answers of the plain model and of a pruned one, each with weights of its own."""
    model, processor = tiny_llava(grid=GRID)
    inputs = resprune.build_inputs(processor, picture(), QUESTION)
    plain = answer(model, inputs)
    with resprune.pruned(model, processor, keep=BUDGET):
        pruned = answer(model, inputs)
    assert not torch.equal(plain, pruned)
    return inputs, plain, pruned


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_prunes_by_itself(way, expected):
    inputs, plain, pruned = expected
    model, processor = tiny_llava(grid=GRID)
    twin = WAYS[way](resprune.attach(model, processor, keep=BUDGET))
    resprune.detach(model)
    assert torch.equal(answer(twin, inputs), pruned)
    assert twin.resprune.last[0].tokens_kept == BUDGET
    twin.resprune.settings = resprune.Settings.of(keep=1.0)
    assert torch.equal(answer(twin, inputs), plain)
    with pytest.raises(resprune.InputError, match="detach"):
        resprune.attach(twin, processor)
    resprune.detach(twin)
    assert "generate" not in vars(twin)
    assert "resprune" not in vars(twin)
    assert torch.equal(answer(twin, inputs), plain)
    assert torch.equal(answer(model, inputs), plain)


def test_a_deep_copy_is_made_after_a_call_as_well(expected):
    inputs, _, pruned = expected
    model, processor = tiny_llava(grid=GRID)
    resprune.attach(model, processor, keep=BUDGET)
    answer(model, inputs)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert torch.equal(answer(twin, inputs), pruned)
    assert twin.resprune is not model.resprune


@pytest.mark.parametrize("way", ["pickle", "torch.save"])
def test_what_cannot_be_pickled_after_a_call_is_told(way, expected):
    model, processor = tiny_llava(grid=GRID)
    resprune.attach(model, processor, keep=BUDGET)
    answer(model, expected[0])
    with pytest.raises(resprune.InputError, match="cannot be pickled after its first call"):
        WAYS[way](model)
    resprune.detach(model)
    with pytest.raises((AttributeError, pickle.PicklingError)):  # the plain one is no better
        WAYS[way](model)


def asked(model, inputs, queue):
    queue.put(answer(model, inputs).tolist())


def test_a_spawned_process_prunes(expected):
    inputs, _, pruned = expected
    model, processor = tiny_llava(grid=GRID)
    resprune.attach(model, processor, keep=BUDGET)
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=asked, args=(model, dict(inputs), queue))
    worker.start()
    try:
        assert queue.get(timeout=60) == pruned.tolist()
    finally:
        worker.join(30)


def test_what_it_saves_is_the_plain_model(expected, tmp_path):
    inputs, plain, _ = expected
    model, processor = tiny_llava(grid=GRID)
    model.save_pretrained(tmp_path / "plain")
    resprune.attach(model, processor, keep=BUDGET, mass=True)
    answer(model, inputs)
    model.save_pretrained(tmp_path / "attached")
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("plain", "attached")]
    assert files[0] == files[1]
    for name in files[0]:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "attached" / name).read_bytes()
    loaded = type(model).from_pretrained(tmp_path / "attached")
    assert "generate" not in vars(loaded)
    assert torch.equal(answer(loaded, inputs), plain)
