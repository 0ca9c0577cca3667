"""What a visitor starts from: an example that has been answered already, a new scene, or a picture of their own."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app import handlers, panels
from app.scenes import ANYTHING, Example, examples, new_scene, questions_for
from app.session import Session
from app.stored import stored_run, stored_runs


@dataclass(frozen=True)
class Offer:
    """The examples, and the stored runs of them."""

    examples: list[Example]
    runs: dict[tuple[str, str], dict[str, Any]]

    @classmethod
    def load(cls) -> "Offer":
        return cls(examples(), stored_runs())

    @property
    def record(self) -> dict[str, Any] | None:
        """The stored run of the first example."""
        return stored_run(self.examples[0], self.runs)


def shown(record: dict[str, Any] | None) -> handlers.Shown:
    """A stored run as the page shows it, or the empty page."""
    return handlers.show(record, panels.stored(record) if record else "")


def pick(offered: Offer, index: int, session: Session) -> tuple:
    """An example: its picture, its question, others that fit it, and its stored run."""
    example = offered.examples[index]
    session.leave()
    record = stored_run(example, offered.runs)
    session.show(record)
    questions = samples(questions_for(example))
    return str(example.path), example.question, questions, *shown(record)


def compose(session: Session) -> tuple:
    """A new scene, a question about it, others that fit it, and no answers."""
    image, questions = new_scene()
    return image, questions[0], samples(questions[1:]), *handlers.forget(session)


def given(session: Session) -> tuple:
    """Questions for a picture of the visitor's own, and no answers."""
    return samples(list(ANYTHING)), *handlers.forget(session)


def samples(questions: list[str]) -> Any:
    """Questions to choose from."""
    return gr.update(samples=[[question] for question in questions])
