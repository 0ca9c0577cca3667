"""How a comparison ends before its time: stopped, closed, or by an error; the model serves the next question."""

import threading
import time

import pytest
import torch
from comparing import FEW, ask, clean, counted
from tiny import QUESTION, picture

from resprune.compare.comparison import WARM_UP_TOKENS, compare
from resprune.errors import InputError


def stopped_at(tiny, side, tokens=50):
    """Updates of a comparison that is stopped once ``side`` has answered three tokens, and how much was read then."""
    model, processor = tiny
    stop, seen, updates = threading.Event(), 0, []
    with counted(model.get_decoder()) as read:
        for update in compare(model, processor, picture(), QUESTION, FEW, max_new_tokens=tokens, stop=stop):
            updates.append(update)
            seen += (update.side, update.stage) == (side, "decode")
            if seen == 3 and not stop.is_set():
                stop.set()
                before = len(read)
    return updates, len(read) - before


@pytest.fixture
def slow(tiny):
    """A model that takes 20 ms a token, so that tests can tell what came after what."""
    model, processor = tiny
    ask(model, processor, tokens=1)  # warm
    model.get_decoder().layers[0].register_forward_pre_hook(lambda *_: time.sleep(0.02))
    return model, processor


@pytest.mark.parametrize("side", ["full", "pruned"])
def test_stop_stops_within_a_token(slow, side):
    updates, read = stopped_at(slow, side)
    assert read <= 2
    assert (updates[-1].side, updates[-1].stage, updates[-1].answer) == (side, "stopped", None)
    assert updates[-1].text.startswith(updates[-2].text)
    assert {update.side for update in updates} == ({"full"} if side == "full" else {"full", "pruned"})
    assert len(ask(*slow, tokens=2)) == 2


def test_what_is_stopped_before_it_began_is_not_run(tiny):
    model, processor = tiny
    stop = threading.Event()
    stop.set()
    with counted(model.model.vision_tower) as encoded, counted(model.get_decoder()) as read:
        updates = list(compare(model, processor, picture(), QUESTION, FEW, stop=stop))
    assert [update.stage for update in updates] == ["encode", "stopped"] and not read and not encoded


def test_stopped_between_the_sides_the_pruned_one_is_not_run(tiny):
    model, processor = tiny
    stop, stages = threading.Event(), []
    ask(model, processor, tokens=1)  # warm
    with counted(model.get_decoder()) as read:
        for update in compare(model, processor, picture(), QUESTION, FEW, max_new_tokens=3, stop=stop):
            stages.append((update.side, update.stage))
            if update.answer:
                stop.set()
    assert stages[-2:] == [("full", "done"), ("pruned", "stopped")] and len(read) == 3


def test_a_warm_up_that_was_stopped_is_done_again(tiny):
    model, processor = tiny
    stop = threading.Event()
    hook = model.get_decoder().register_forward_pre_hook(lambda *_: stop.set())
    assert [u.stage for u in compare(model, processor, picture(), QUESTION, FEW, stop=stop)] == ["encode", "stopped"]
    hook.remove()
    with counted(model.get_decoder()) as read:
        ask(model, processor, tokens=3)
    assert len(read) == 2 * (WARM_UP_TOKENS + 3)


@pytest.mark.parametrize("side", ["full", "pruned"])
def test_closing_the_iterator_stops_the_device(slow, side):
    model, processor = slow
    stop = threading.Event()
    with clean(model):
        updates = compare(model, processor, picture(), QUESTION, FEW, max_new_tokens=40, stop=stop)
        with counted(model.get_decoder()) as read:
            next(update for update in updates if (update.side, update.stage) == (side, "decode"))
            before = len(read)
            updates.close()
            after = len(read)
            time.sleep(0.1)
            assert len(read) == after <= before + 2
    assert not stop.is_set(), "the event is the caller's"
    assert len(ask(model, processor, tokens=2)) == 2


@pytest.mark.parametrize("tokens_before", [0, 3], ids=["prefill", "decode"])
@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        (RuntimeError("a bug"), RuntimeError, "a bug"),
        (KeyboardInterrupt("now"), KeyboardInterrupt, "now"),
        (InputError("That cannot be done."), InputError, "That cannot be done."),
        (torch.OutOfMemoryError("CUDA out of memory"), InputError, "Memory does not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."), InputError, "Memory does not suffice"),
        (MemoryError(), InputError, "Memory does not suffice"),
    ],
    ids=["bug", "interrupt", "input", "cuda memory", "cpu memory", "memory"],
)
def test_an_error_of_the_worker_reaches_the_caller(tiny, error, expected, says, tokens_before):
    model, processor = tiny
    ask(model, processor, tokens=1)  # warm
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 8 + tokens_before + 1:  # on the pruned side
            raise error

    hook = model.get_decoder().register_forward_pre_hook(fail)
    with clean(model), pytest.raises(expected, match=says):
        ask(model, processor, tokens=8)
    hook.remove()
    assert len(ask(model, processor, tokens=2)) == 2


def test_want_of_memory_while_encoding_is_told_too(tiny):
    model, processor = tiny

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.model.vision_tower.register_forward_pre_hook(fail)
    with clean(model), pytest.raises(InputError, match="Memory does not suffice"):
        ask(model, processor)
    hook.remove()
    assert len(ask(model, processor, tokens=2)) == 2
