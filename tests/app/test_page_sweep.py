"""The sweep of the page, on a tiny model and without a server."""

from copy import deepcopy

import pytest
from serving import own_defaults

from app.registry import Registry
from app.scenes import examples
from app.sweep import handlers
from app.sweep.handlers import SAME, Shown, State

PICTURE = str(examples()[0].path)
OPTIONS = [9, True, "resprune", "original", 4, *own_defaults()]


def swept(registry: Registry, state: State, methods=("resprune", "random"), budgets="4, 50%") -> list[Shown]:
    handlers.begin(state)
    return list(handlers.sweep(registry, PICTURE, "What is it?", state, list(methods), budgets, 2, *OPTIONS))


def test_every_answer_of_the_sweep_is_shown_and_its_mass_is_that_of_the_page(registry: Registry) -> None:
    state = State()
    shown = swept(registry, state)
    assert len(state.trials) == 1 + 2 + 2 * 2
    assert all(trial.answer.mass for trial in state.trials[1:])
    last = shown[-2]
    assert "7 of 7 answers" in last.progress and "done" in last.progress
    assert "4 tokens" in last.table and "18 tokens" in last.table
    assert last.agreement is not SAME and last.spent is not SAME
    assert shown[-1].run["interactive"] is True


def test_cancel_keeps_the_answers_so_far_and_the_next_sweep_runs(registry: Registry) -> None:
    state = State()
    handlers.begin(state)
    going = handlers.sweep(registry, PICTURE, "What is it?", state, ["resprune"], "1,2,3,4,5,6,7,8", 1, *OPTIONS)
    while not state.trials:
        next(going)
    shown = handlers.cancel(state)
    assert "stopped" in shown.progress
    list(going)
    assert len(state.trials) <= 2
    assert handlers.refused(state) == Shown(), "what was cancelled needs no words"
    assert len(swept(registry, state)) > 2


@pytest.mark.parametrize(
    ("methods", "budgets", "said"),
    [
        ([], "4", "choose at least one"),
        (["resprune"], " , ", "no budget"),
        (["resprune"], "4, nonsense", "budget"),
        (["resprune"], ",".join(map(str, range(1, 200))), "more than 120"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_in_a_sentence(registry: Registry, methods, budgets, said) -> None:
    state = State()
    assert said in swept(registry, state, methods, budgets)[-2].progress
    assert state.stop.is_set()


def test_each_tab_has_a_sweep_of_its_own() -> None:
    first = State()
    first.trials.append("mine")
    assert deepcopy(first).trials == []
