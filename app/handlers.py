"""What the upper part of the page does on each click: plain functions and generators, which know no component."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr

from app import asking, charts, differences, panels
from app.asking import Options
from app.failures import report
from app.record import answers_of, record_of, shown_map, with_differences
from app.registry import Registry
from app.session import SIDES, Run, Session, Side
from app.updates import SAME, WAITING, buttons

IDLE, BUSY = (buttons("ask", "stop", busy=busy) for busy in (False, True))
CLEARED = {"differences": differences.strip(None), "times": None, "memory": None, "energy": None, "notes": ""}
NOTHING = CLEARED | {"message": "", "origin": ""}


class Shown(NamedTuple):
    """What becomes of the page's outputs; each stays as it is unless given."""

    full: Any = SAME
    pruned: Any = SAME
    verdict: Any = SAME
    patch_map: Any = SAME
    differences: Any = SAME
    times: Any = SAME
    memory: Any = SAME
    energy: Any = SAME
    notes: Any = SAME
    message: Any = SAME
    origin: Any = SAME
    budget: Any = SAME
    ask: Any = SAME
    stop: Any = SAME


def begin(session: Session, indices: tuple[int, ...] = ()) -> Shown:
    """Answer the click at once, before the queue does: empty panels that say what they wait for."""
    if session.running:
        return Shown()
    run = session.begin(indices)
    run.sides["full"].stage, run.sides["pruned"].stage = "queued", "waiting"
    return Shown(*_panels(run), panels.verdict(None), **NOTHING | {"origin": panels.live(None)}, **BUSY)


def clicked(session: Session, event: gr.EventData) -> Shown:
    """:func:`begin` for a click; one on the map names the patches that the pruned side is to answer with."""
    given = event._data.get("indices") if isinstance(event._data, dict) else None
    indices = tuple(i for i in given if isinstance(i, int)) if isinstance(given, list) else ()
    return begin(session, indices)


def ask(registry: Registry, picture: str | None, question: str, session: Session, *options: Any) -> Iterator[Shown]:
    """Answer the question with all visual tokens, then with some of them, and show what comes as it comes."""
    run = session.run or session.begin()
    try:
        asking.needed(picture)
        for progress in registry.wait(run.stop):
            waiting = f"waiting for the model, {progress.share:.0%}"
            yield Shown(full=panels.panel("full", run.sides["full"], waiting))
        with asking.request(registry, picture, question, Options.of_page(options, run.indices), run.stop) as request:
            for update in request.updates():
                run.take(update)
                yield Shown(**{update.side: panels.panel(update.side, run.sides[update.side])})
            if run.answers:
                yield from _explained(request, session)
    except Exception as error:
        run.end("failed")
        yield Shown(*_panels(run), message=panels.message(report(error)), origin=panels.live(None, "no answer"))
    finally:
        run.stop.set()
    yield Shown(**IDLE)


def _explained(request: asking.Request, session: Session) -> Iterator[Shown]:
    """Everything but the answers: verdict, map and curves at once, then where the answers part."""
    record = record_of(request, session.drawn)
    session.show(record)
    yield Shown(
        **_facts(record),
        origin=panels.live(record),
        patch_map=shown_map(record),
        differences=differences.strip(None, busy=True),
    )
    if changes := request.differences():
        session.show(with_differences(record, changes))
        yield Shown(differences=differences.strip(session.record))


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says beside the answers, the map and the differences."""
    full, pruned = answers_of(record)
    total = full.tokens_total
    return {
        "verdict": panels.verdict((full, pruned)),
        "times": charts.times(full, pruned),
        "memory": charts.memory(full, pruned),
        "energy": charts.energy(record["map"]["captured"], pruned.tokens_kept),
        "notes": panels.notes(list(dict.fromkeys(full.notes + pruned.notes))),
        "budget": gr.update(maximum=total),
    }


def show(record: dict[str, Any] | None, origin: str = "") -> Shown:
    """A record as the page shows it, or the empty page.

    Args:
        record: see :mod:`app.record`.
        origin: says where it comes from.
    """
    if record is None:
        idle = [panels.panel(name, Side()) for name in SIDES]
        return Shown(*idle, panels.verdict(None), None, **NOTHING, **IDLE)
    answers = dict(zip(SIDES, answers_of(record), strict=True))
    sides = [panels.panel(name, Side("done", answer.answer, answer)) for name, answer in answers.items()]
    shown = NOTHING | _facts(record) | {"origin": origin, "differences": differences.strip(record)}
    return Shown(*sides, patch_map=shown_map(record), **shown, **IDLE)


def mark(session: Session, budget: float) -> Any:
    """The curve of the energy with the slider's budget marked."""
    captured = session.drawn and session.drawn["captured"]
    return charts.energy(captured, int(budget)) if captured else SAME


def refused(session: Session) -> Shown:
    """Say that the queue had no room; Gradio also comes here when a question was stopped, which needs no words."""
    if not session.running:
        return Shown()
    session.stop()
    session.run.end("failed")
    words = WAITING.format("ask")
    return Shown(*_panels(session.run), message=panels.message(words), origin=panels.live(None, "no answer"), **IDLE)


def stop(session: Session) -> Shown:
    """Stop the device within a token, and keep what has been answered so far."""
    session.stop()
    if not session.run:
        return Shown()
    session.run.end("stopped")
    said = {} if session.record else {"origin": panels.live(None, "stopped")}
    return Shown(*_panels(session.run), differences=differences.strip(session.record), message="", **said, **IDLE)


def forget(session: Session) -> Shown:
    """Clear the answers, which were about another picture."""
    session.leave()
    return show(None)


def _panels(run: Run) -> list[str]:
    return [panels.panel(name, run.sides[name]) for name in SIDES]
