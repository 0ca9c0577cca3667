"""Questions answered in one batch: each as it is alone, whatever becomes of the others."""

import itertools

import pytest
import torch
from comparing import clean, counted
from tiny import QUESTION, picture

from resprune.compare import Asked, answer, answer_together
from resprune.errors import InputError
from resprune.evaluate.sets import emoji_test
from resprune.models.loading import load
from resprune.settings import Settings

WAYS = [Settings(4, mass=True), Settings(0.5, method="divprune"), Settings(1.0), Settings(9)]
LIMITS = [7, 3, 12, 1]


def questions(**more):
    """Of different pictures, lengths, settings and limits."""
    return [
        Asked(picture(i, 60 + 20 * i), QUESTION + " Is it red?" * i, way, limit, **more)
        for i, (way, limit) in enumerate(zip(WAYS, LIMITS, strict=True))
    ]


def alone(model, processor, one):
    """The last update of an answer that shares nothing."""
    *_, last = answer(model, processor, one.image, one.question, one.settings, max_new_tokens=one.max_new_tokens)
    return last


def together(model, processor, asked):
    """What each was told, in order."""
    told = [[] for _ in asked]
    answer_together(model, processor, asked, lambda number, update: told[number].append(update))
    return told


def same(one, other):
    assert one.token_ids == other.token_ids and one.prompt_tokens == other.prompt_tokens > 0
    for name in ("answer", "method", "mass", "tokens_total", "tokens_kept", "nouns", "kv_bytes", "notes"):
        assert getattr(one.answer, name) == getattr(other.answer, name), name
    assert sorted(one.answer.kept) == sorted(other.answer.kept)  # which of two nearly alike came first is rounding


def test_each_is_what_it_is_alone_in_one_run(tiny):
    model, processor = tiny
    asked = questions()
    own = [alone(model, processor, one) for one in asked]
    with clean(model), counted(model.get_decoder()) as read, counted(model.model.vision_tower) as encoded:
        told = together(model, processor, asked)
    assert len(encoded) == 1 and len(read) == max(LIMITS)
    for updates, one in zip(told, own, strict=True):
        same(updates[-1], one)
        assert [update.stage for update in updates] == ["decode"] * (len(one.token_ids) - 1) + ["done"]
        assert all(b.text.startswith(a.text) for a, b in itertools.pairwise(updates))
        said = updates[-1].answer
        assert 0 < said.encode_ms + said.prefill_ms <= said.ttft_ms <= said.total_ms


def test_a_short_answer_does_not_wait_for_a_long_one(tiny):
    model, processor = tiny
    order = []
    answer_together(model, processor, questions(), lambda number, update: order.append((number, update.stage)))
    assert [number for number, stage in order if stage == "done"] == [3, 1, 0, 2]


def test_a_question_that_is_stopped_leaves_the_others_alone(tiny):
    model, processor = tiny
    asked = questions()
    own = [alone(model, processor, one) for one in asked]
    told = [[] for _ in asked]

    def tell(number, update):
        told[number].append(update)
        if number == 2 and len(told[2]) == 2:
            asked[2].stop.set()

    asked[1].stop.set()
    with clean(model), counted(model.get_decoder()) as read:
        answer_together(model, processor, asked, tell)
    assert [update.stage for update in told[1]] == ["stopped"]
    assert told[2][-1].stage == "stopped" and len(told[2]) <= 5
    assert len(read) == LIMITS[0] < LIMITS[2]
    for number in (0, 3):
        same(told[number][-1], own[number])


def test_a_question_that_is_wrong_leaves_the_others_alone(tiny):
    """Before the batch (a picture, a prompt too long), and in it (a token that is not there)."""
    model, processor = tiny
    wrong = [
        Asked(b"no picture", QUESTION, WAYS[0]),
        Asked(picture(), QUESTION, WAYS[0], 5000),
        Asked(picture(), QUESTION, Settings(4, protect=[99])),
        Asked(picture(), "Why?", Settings(4, method="fastv"), 2),
    ]
    asked = questions()
    own = [alone(model, processor, one) for one in [*asked, wrong[3]]]
    with clean(model):
        told = together(model, processor, [*wrong[:3], *asked, wrong[3]])
    for updates, says in zip(told, ("no picture", "room for", "99"), strict=False):
        assert isinstance(updates[-1], InputError) and says in str(updates[-1])
    for updates, one in zip(told[3:], own, strict=True):
        same(updates[-1], one)


@pytest.mark.parametrize("after", [0, 3])
def test_where_a_batch_finds_no_memory_each_is_asked_alone(after, tiny, monkeypatch):
    model, processor = tiny
    asked = questions()
    own = [alone(model, processor, one) for one in asked]
    steps = []

    def scarce(_, __, arguments):
        if len(arguments["inputs_embeds"]) > 1:
            steps.append(1)
            if len(steps) > after:
                raise MemoryError

    hook = model.get_decoder().register_forward_pre_hook(scarce, with_kwargs=True)
    told = together(model, processor, asked)
    hook.remove()
    assert len(steps) == after + 1
    for updates, one in zip(told, own, strict=True):
        same(updates[-1], one)
        assert sum(update.stage == "done" for update in updates) == 1


def test_the_bundled_model_says_the_same():
    model, processor = load("bundled", dtype=torch.float32)
    ways = [Settings(64, mass=True), Settings("22%"), Settings(16, method="divprune"), Settings(1.0)]
    asked = [
        Asked(example.image, example.question, way, 24)
        for example, way in zip(list(emoji_test(2))[::5], ways, strict=False)
    ]
    assert len(asked) == len(ways)
    for updates, one in zip(together(model, processor, asked), asked, strict=True):
        same(updates[-1], alone(model, processor, one))
