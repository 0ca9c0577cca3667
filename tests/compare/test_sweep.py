"""Every method at every budget on one encoding, and who stands for whom on the way."""

import functools
import threading

import pytest
import torch
from tiny import picture

from resprune.compare.comparison import compare
from resprune.compare.sweep import agreement, plan, sweep
from resprune.errors import InputError
from resprune.methods import Random, ResPrune, built_in
from resprune.selection.mass import represented_by, succession
from resprune.settings import Settings

QUESTION = "What animal is in the picture?"


def test_a_plan_has_each_method_at_each_budget_and_several_draws_of_random():
    tries = plan(Settings(mass=True), ["resprune", "random"], [4, 0.5], [0, 1, 2])
    assert [(t.method, t.keep) for t in tries] == [
        (ResPrune(), 4),
        (ResPrune(), 0.5),
        *[(Random(seed), keep) for keep in (4, 0.5) for seed in (0, 1, 2)],
    ]
    assert all(t.mass for t in tries)
    with pytest.raises(InputError, match="nonsense"):
        plan(Settings(), ["nonsense"], [4], [0])


def test_each_trial_is_what_a_comparison_with_its_settings_says_and_the_picture_is_encoded_once(tiny, monkeypatch):
    model, processor = tiny
    tries = plan(Settings(), [name for name, method in built_in().items() if not method.by_hand], [3, 12], [0, 1])
    list(compare(model, processor, picture(), QUESTION, tries[0], max_new_tokens=5))  # warm
    encoder, encoded = type(model.model).get_image_features, []

    @functools.wraps(encoder)
    def counted(self, *args, **kwargs):
        encoded.append(self)
        return encoder(self, *args, **kwargs)

    monkeypatch.setattr(type(model.model), "get_image_features", counted)
    trials = list(sweep(model, processor, picture(), QUESTION, tries, max_new_tokens=5))
    assert len(encoded) == 1
    assert len(trials) == 1 + len(tries)
    assert [trial.settings for trial in trials] == [None, *tries]
    assert trials[0].agreement == 1.0
    for trial in (trials[2], trials[-1]):
        *_, last = compare(model, processor, picture(), QUESTION, trial.settings, max_new_tokens=5)
        assert (last.answer.answer, last.answer.kept) == (trial.answer.answer, trial.answer.kept)


def test_a_sweep_stops_within_a_token(tiny):
    stop, seen = threading.Event(), []
    for trial in sweep(*tiny, picture(), QUESTION, plan(Settings(), ["resprune"], [2, 3, 4, 5], [0]), stop=stop):
        seen.append(trial)
        if len(seen) == 2:
            stop.set()
    assert len(seen) == 2
    assert not hasattr(tiny[0], "resprune")


def test_agreement_is_the_share_of_common_words():
    assert agreement("", "") == agreement("A dog.", "A dog.") == 1
    assert agreement("A dog.", "a dog") == 1
    assert agreement("a dog", "a cat") == pytest.approx(0.5)
    assert agreement("dog", "") == agreement("dog", "cat") == 0


def who(ranks, budget):
    """Of each token the rank of the one that stands for it, -1 for none, as the page reads :func:`succession`."""
    last = [max((r for r in found if max(r, -1 - r) < budget), key=lambda r: max(r, -1 - r)) for found in ranks]
    return [max(r, -1) for r in last]


@pytest.mark.parametrize("alike", [-1.0, 0.3, 0.7])
@pytest.mark.parametrize("count", [1, 40, 700])
def test_one_pass_tells_who_stands_for_whom_at_every_budget(count, alike):
    torch.manual_seed(count)
    features, order = torch.randn(count, 8), torch.randperm(count)
    ranks = succession(features, order, alike)
    assert [found[-1] for found in ranks] == order.argsort().tolist()
    for budget in {1, count // 3 or 1, count}:
        assert who(ranks, budget) == represented_by(features, order[:budget], alike).tolist()
    if count > 1:
        assert represented_by(features, order[:1]).tolist() != represented_by(features, order).tolist()


def test_copies_of_a_token_are_represented_by_the_first_kept_one_but_each_kept_one_by_itself():
    features = torch.ones(4, 3)
    order = torch.tensor([2, 0, 3, 1])
    ranks = succession(features, order)
    for budget in (1, 2, 4):
        places = [max(rank for rank in found if rank < budget) for found in ranks]
        assert places == represented_by(features, order[:budget]).tolist()
