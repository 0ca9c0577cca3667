"""What the page does on each click: plain functions and generators, which know no component."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import gradio as gr

from app import asking, panels
from app.asking import Options
from app.chart import times
from app.failures import report
from app.patch_map import map_value
from app.registry import Registry
from app.scenes import Example, new_scene
from app.session import SIDES, Run, Session, Side

SAME: Any = gr.skip()
IDLE = {"ask": gr.update(interactive=True), "stop": gr.update(interactive=False)}
BUSY = {"ask": gr.update(interactive=False), "stop": gr.update(interactive=True)}
EMPTY = {"patch_map": None, "nouns": "", "chart": None, "message": ""}


class Shown(NamedTuple):
    """What becomes of the page's outputs; each stays as it is unless given."""

    full: Any = SAME
    pruned: Any = SAME
    verdict: Any = SAME
    patch_map: Any = SAME
    nouns: Any = SAME
    chart: Any = SAME
    message: Any = SAME
    ask: Any = SAME
    stop: Any = SAME


def begin(session: Session) -> Shown:
    """Answer the click at once, before the queue does: empty panels that say what they wait for."""
    if session.running:
        return Shown()
    run = session.begin()
    run.sides["full"].stage, run.sides["pruned"].stage = "queued", "waiting"
    return Shown(*_panels(run), panels.verdict(run), **EMPTY, **BUSY)


def ask(registry: Registry, picture: str | None, question: str, session: Session, budget: float) -> Iterator[Shown]:
    """Answer the question with all visual tokens, then with ``budget`` of them, and show what comes as it comes."""
    run = session.run or session.begin()
    try:
        asking.needed(picture)
        for progress in registry.wait(run.stop):
            waiting = f"waiting for the model, {progress.share:.0%}"
            yield Shown(full=panels.panel("full", run.sides["full"], waiting))
        for update, opened in asking.updates(registry, picture, question, Options(int(budget)), run.stop):
            run.take(update)
            yield _shown(run, update, opened, registry)
    except Exception as error:
        run.end("failed")
        yield Shown(*_panels(run), message=panels.message(report(error)))
    finally:
        run.stop.set()
    yield Shown(**IDLE)


def _shown(run: Run, update: Any, opened: Any, registry: Registry) -> Shown:
    """What an update changes on the page; the picture is sent once, when its tokens have been chosen."""
    shown = {update.side: panels.panel(update.side, run.sides[update.side])}
    if update.prune and update.stage == "select":
        shown["patch_map"] = map_value(opened.image, update.prune, registry.loaded.processor)
        shown["nouns"] = panels.nouns(update.prune.nouns, opened.notes + update.prune.notes)
    if run.answers:
        shown["verdict"], shown["chart"] = panels.verdict(run), times(*run.answers)
    return Shown(**shown)


def refused(session: Session) -> Shown:
    """Say that the queue had no room; Gradio also comes here when a question was stopped, which needs no words."""
    if not session.running:
        return Shown()
    session.stop()
    session.run.end("failed")
    words = "Too many questions are waiting; ask again in a moment."
    return Shown(*_panels(session.run), message=panels.message(words), **IDLE)


def stop(session: Session) -> Shown:
    """Stop the device within a token, and keep what has been answered so far."""
    session.stop()
    if not session.run:
        return Shown()
    session.run.end("stopped")
    return Shown(*_panels(session.run), message="", **IDLE)


def forget(session: Session) -> Shown:
    """Clear the answers, which were about another picture."""
    session.stop()
    session.run = None
    idle = [panels.panel(name, Side()) for name in SIDES]
    return Shown(*idle, panels.verdict(None), **EMPTY, **IDLE)


def pick(examples: list[Example], index: int) -> tuple[str, str]:
    """The picture and the question of an example."""
    return str(examples[index].path), examples[index].question


def compose() -> tuple[Any, str]:
    """A new scene and a question about it."""
    return new_scene()


async def loading(registry: Registry) -> AsyncIterator[str]:
    """How far the model is loaded, until it is."""
    registry.start()
    while not (registry.loaded or registry.failure):
        yield panels.model_status(registry.model_id, registry.progress, None, None)
        await asyncio.sleep(0.2)
    yield panels.model_status(registry.model_id, registry.progress, registry.loaded, registry.failure)


def _panels(run: Run) -> list[str]:
    return [panels.panel(name, run.sides[name]) for name in SIDES]
