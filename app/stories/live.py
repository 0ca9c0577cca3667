"""Running a story here and now: a generator, which knows no component."""

import threading
from collections.abc import Iterator
from html import escape

from app import asking, panels
from app.failures import Refused, report
from app.record import options_of
from app.registry import Registry
from app.session import SIDES, Run
from app.stories.deck import Story, picture, said_the_same, stories
from resprune.device import described_machine


def live(registry: Registry, clicked: object) -> Iterator[str]:
    """Ask the questions of the story that a click names, and show what comes as it comes, as HTML.

    Args:
        registry: whose model answers.
        clicked: what the browser said of the click: ``{"story": name}``.
    """
    stop, shown = threading.Event(), ""
    try:
        story = _named(clicked)
        for _ in registry.wait(stop):
            yield _frame("waiting for the model")
        for told in story.runs:
            run = Run(stop=stop)
            record = told.record
            given = (str(picture(told)), record["question"], options_of(record), stop)
            with asking.request(registry, *given) as request:
                where = f"{request.lent.id} on {described_machine(request.lent.device)}, just now"
                for update in request.updates():
                    run.take(update)
                    yield _frame(where, shown + _both(run, record["question"], told.truth))
            shown += _both(run, record["question"], told.truth)
    except Exception as error:
        yield _frame("no answer", shown + panels.message(report(error)))
    finally:
        stop.set()


def _named(clicked: object) -> Story:
    name = clicked.get("story") if isinstance(clicked, dict) else None
    for story in stories():
        if story.name == name:
            return story
    raise Refused("There is no such story; reload the page.")


def _frame(where: str, sides: str = "") -> str:
    return f'<p class="origin"><b>Live run</b> <span>{escape(where)}</span></p>{sides}'


def _both(run: Run, question: str, truth: str) -> str:
    sides = "".join(f"<div>{panels.panel(name, run.sides[name])}{_mark(run, name, truth)}</div>" for name in SIDES)
    verdict = panels.verdict(run.answers) if run.answers else ""
    return f'<p class="question">{escape(question)}</p><div class="sides">{sides}</div>{verdict}'


def _mark(run: Run, name: str, truth: str) -> str:
    """Whether a finished answer is right."""
    side = run.sides[name]
    if side.answer is None:
        return ""
    right = said_the_same(side.text, truth)
    words = "right" if right else f"wrong: {truth}"
    return f'<p class="mark {"right" if right else "wrong"}">{escape(words)}</p>'
