"""What the page remembers of one visitor while a tab is open."""

import threading
from dataclasses import dataclass, field
from typing import Any

SIDES = ("full", "pruned")


@dataclass
class Side:
    """One answer as far as it is known: the stage that it is in, the text so far, and its figures once it is done."""

    stage: str = "idle"
    text: str = ""
    answer: Any = None


@dataclass
class Run:
    """One question asked: how to stop it, and what is known of both sides.

    Attributes:
        indices: the patches to answer with, where the visitor chose them by hand.
    """

    indices: tuple[int, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    sides: dict[str, Side] = field(default_factory=lambda: {name: Side() for name in SIDES})

    def take(self, update: Any) -> None:
        """Note an update of :func:`resprune.compare.compare`."""
        side = self.sides[update.side]
        side.stage, side.text = update.stage, update.text or side.text
        side.answer = update.answer or side.answer

    def end(self, stage: str) -> None:
        """Mark the sides that are not done, such as ``"stopped"``."""
        for side in self.sides.values():
            if side.stage != "done":
                side.stage = stage

    @property
    def answers(self) -> tuple[Any, Any] | None:
        """Both answers, once both sides are done."""
        full, pruned = (self.sides[name].answer for name in SIDES)
        return (full, pruned) if full and pruned else None


class Session:
    """One visitor. Gradio copies the first one for each new tab, and a copy is a fresh session.

    Attributes:
        run: the question asked last, until its picture goes.
        record: the finished comparison that the page shows, see :mod:`app.record`; ``None`` while there is none.
        drawn: the patch map that the page shows, which stays while the next question about its picture is answered.
    """

    def __init__(self, record: dict[str, Any] | None = None) -> None:
        self.run: Run | None = None
        self.show(record)

    def __deepcopy__(self, memo: dict) -> "Session":
        return Session(self.record)

    @property
    def running(self) -> bool:
        """Whether a question is waiting or being answered."""
        return self.run is not None and not self.run.stop.is_set()

    def begin(self, indices: tuple[int, ...] = ()) -> Run:
        """Start a run; one that is still going is stopped, since its signal is its own."""
        self.stop()
        self.run, self.record = Run(indices), None
        return self.run

    def stop(self) -> None:
        """Ask the current run to stop; its device is free within a token."""
        if self.run:
            self.run.stop.set()

    def show(self, record: dict[str, Any] | None) -> None:
        """Note what the page shows from now on; nothing where its picture goes."""
        self.record = record
        self.drawn = record and record["map"]

    def leave(self) -> None:
        """Stop what is going on, which was about another picture or is to be replaced."""
        self.stop()
        self.run = None
        self.show(None)
