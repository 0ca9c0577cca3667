"""What the sweep does on each click: plain functions and generators, which know no component."""

import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from app import asking, panels
from app.asking import Options
from app.failures import Refused, report
from app.registry import Registry
from app.sweep import views
from app.updates import SAME, WAITING, buttons

IDLE, BUSY = (buttons("run", "cancel", busy=busy) for busy in (False, True))
PACE = 0.4  # seconds between two tables
MOST = 120  # answers of one sweep


class State:
    """The sweep of one visitor. Gradio copies the first one for each new tab, and a copy is a fresh one.

    Attributes:
        stop: set to stop it.
        trials: its answers so far.
    """

    def __init__(self) -> None:
        self.stop, self.trials = threading.Event(), list[Any]()

    def __deepcopy__(self, memo: dict) -> "State":
        return State()


class Shown(NamedTuple):
    """What becomes of the tab's outputs; each stays as it is unless given."""

    progress: Any = SAME
    table: Any = SAME
    agreement: Any = SAME
    spent: Any = SAME
    run: Any = SAME
    cancel: Any = SAME


def begin(state: State) -> Shown:
    """Answer the click at once, before the queue does."""
    state.stop.set()
    state.stop, state.trials = threading.Event(), list[Any]()
    return Shown(views.progress(0, 0, "waiting for its turn"), "", None, None, **BUSY)


def sweep(
    registry: Registry,
    picture: str | None,
    question: str,
    state: State,
    methods: list[str],
    budgets: str,
    seeds: float,
    *options: Any,
) -> Iterator[Shown]:
    """Answer the question by every method at every budget, and show each answer as it comes."""
    stop, trials = state.stop, state.trials
    try:
        asking.needed(picture)
        for loading in registry.wait(stop):
            yield Shown(views.progress(0, 0, f"waiting for the model, {loading.share:.0%}"))
        with asking.request(registry, picture, question, Options.of_page(options), stop) as request:
            yield from _trials(request, methods, budgets, int(seeds), trials)
        done = "stopped" if stop.is_set() else "done"
        yield Shown(views.progress(len(trials), len(trials), done), *_drawn(trials))
    except Exception as error:
        yield Shown(panels.message(report(error)))
    finally:
        stop.set()
    yield Shown(**IDLE)


def _trials(
    request: asking.Request, methods: list[str], budgets: str, seeds: int, trials: list[Any]
) -> Iterator[Shown]:
    from resprune.compare import plan, sweep
    from resprune.settings import parse_keep

    if not methods:
        raise Refused("No method is chosen; choose at least one.")
    keeps = [parse_keep(text) for text in budgets.replace(";", ",").split(",") if text.strip()]
    if not keeps:
        raise Refused("There is no budget; give some, such as 16, 32, 64, 128.")
    tries = plan(request.settings, methods, keeps, range(max(1, seeds)))
    if len(tries) > MOST:
        raise Refused(f"That would be {len(tries)} answers, more than {MOST}; choose fewer methods, budgets or seeds.")
    shown = float("-inf")
    given: dict[str, Any] = {"max_new_tokens": request.options.max_new_tokens, "stop": request.stop}
    began = time.monotonic()
    yield Shown(views.progress(0, len(tries) + 1, "encoding the picture"))
    for trial in request.lent.run(sweep, request.opened, request.question, tries, **given):
        trials.append(trial)
        if (now := time.monotonic()) - shown >= PACE:
            shown = now
            left = (now - began) / len(trials) * (len(tries) + 1 - len(trials))
            yield Shown(views.progress(len(trials), len(tries) + 1, f"about {left:.0f} s more"), views.table(trials))


def cancel(state: State) -> Shown:
    """Stop the device within a token, and keep the answers so far."""
    state.stop.set()
    trials = state.trials
    return Shown(views.progress(len(trials), len(trials), "stopped"), *_drawn(trials), **IDLE)


def _drawn(trials: list[Any]) -> tuple[Any, Any, Any]:
    return views.table(trials), views.agreement(trials), views.spent(trials)


def refused(state: State) -> Shown:
    """Say that the queue had no room; a sweep that was cancelled needs no words."""
    if state.stop.is_set():
        return Shown()
    state.stop.set()
    return Shown(panels.message(WAITING.format("try")), **IDLE)
