"""Question sets that no model of ours was trained on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resprune.errors import InputError, quoted
from resprune.evaluate.easy_vqa import easy_vqa
from resprune.evaluate.examples import Example
from resprune.images import checked_question, closest_file, open_image
from resprune.models import assets_dir
from resprune.tables import answers_of, fields_of
from resprune.world import TRAINING_FONTS, TRAINING_STYLES, UNSEEN_FONT, UNSEEN_STYLE, Composer, Plan, one_of_each

# Training draws its scenes from triples of numbers, never from pairs.
TEST_SEED, STYLE_SEED, CROWDED_SEED = 9101, 9102, 9103
VALIDATION_SEED, CROWDED_VALIDATION_SEED = 9201, 9202
LONGEST_LINE = 100_000  # characters of a question set's line
REASONS = 10  # of a set without any question, those that its error repeats


def emoji_test(scenes: int) -> Iterator[Example]:
    """New scenes in the training styles, each asked at most one question a kind, and one for each of yes and no."""
    yield from _scenes(TEST_SEED, scenes, None, TRAINING_STYLES, TRAINING_FONTS)


def emoji_style(scenes: int) -> Iterator[Example]:
    """:func:`emoji_test` in a drawing style, and a font, that training never showed."""
    yield from _scenes(STYLE_SEED, scenes, None, (UNSEEN_STYLE,), (UNSEEN_FONT,))


def emoji_crowded(scenes: int) -> Iterator[Example]:
    """Scenes of 15 to 40 small objects in the training styles."""
    yield from _scenes(CROWDED_SEED, scenes, "crowd", TRAINING_STYLES, TRAINING_FONTS)


def emoji_validation(scenes: int) -> Iterator[Example]:
    """Scenes like those of :func:`emoji_test`, but others: settings were chosen on these."""
    yield from _scenes(VALIDATION_SEED, scenes, None, TRAINING_STYLES, TRAINING_FONTS)


def crowded_validation(scenes: int) -> Iterator[Example]:
    """Scenes like those of :func:`emoji_crowded`, but others, likewise."""
    yield from _scenes(CROWDED_VALIDATION_SEED, scenes, "crowd", TRAINING_STYLES, TRAINING_FONTS)


SETS: dict[str, Callable[[int], Iterator[Example]]] = {
    "emoji-test": emoji_test,
    "emoji-style": emoji_style,
    "emoji-crowded": emoji_crowded,
    "easy-vqa": easy_vqa,
    "emoji-validation": emoji_validation,
    "crowded-validation": crowded_validation,
}


@dataclass
class QuestionFile:
    """The questions of a ``.jsonl`` file, one object a line.

    Each has ``image`` (a path, from the file's folder on), ``question``, ``answers`` (the accepted strings, or one) and
    perhaps ``kind``; the names are read as :mod:`resprune.tables` says. Lines that cannot be used are passed over.

    Attributes:
        path: of the file.
        skipped: after the iteration, a sentence for each line that was passed over.

    Raises:
        InputError: while iterating, if the file cannot be read, or none of its lines can be used.
    """

    path: Path

    def __post_init__(self) -> None:
        self.skipped: list[str] = []
        if not self.path.is_file():
            raise InputError(
                f"There is no question set {str(self.path)!r}; choose one of {', '.join(SETS)}, or a file."
            )

    def __iter__(self) -> Iterator[Example]:
        self.skipped.clear()
        pictures: dict[Path, int] = {}
        found = False
        for number, line in self._lines():
            try:
                example = self._example(line, pictures)
            except InputError as error:
                self.skipped.append(f"Line {number}: {error}")
                continue
            found = True
            yield example
        if not found:
            raise InputError(f"The question set {str(self.path)!r} holds no question that can be asked{self._why()}")

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The lines that are not empty, with their numbers."""
        try:
            with self.path.open(encoding="utf-8-sig") as lines:  # Windows likes to mark a text as UTF-8
                yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        except UnicodeDecodeError as error:
            raise InputError(f"The question set {str(self.path)!r} cannot be read as UTF-8 text.") from error
        except OSError as error:
            raise InputError(f"The question set {str(self.path)!r} cannot be read ({error.strerror}).") from error

    def _why(self) -> str:
        if not self.skipped:
            return ": it has no line; give one JSON object a line."
        more = len(self.skipped) - REASONS
        reasons = "; ".join(reason.rstrip(".") for reason in self.skipped[:REASONS])
        return f": {reasons}{f'; and {more} more lines' if more > 0 else ''}."

    def _example(self, line: str, pictures: dict[Path, int]) -> Example:
        entry = _parsed(line)
        try:
            path = closest_file(self.path.parent, entry["image"])
            if path is None:
                raise InputError(f"there is no file {quoted(entry['image'])}.")
            image = open_image(path).image
        except InputError as error:
            raise InputError(f"image: {error}") from error
        try:
            question = checked_question(entry["question"])
        except InputError as error:
            raise InputError(f"question: {error}") from error
        scene = pictures.setdefault(path, len(pictures))
        return Example(scene, image, entry["kind"], question, entry["answers"])


def _parsed(line: str) -> dict[str, Any]:
    """A line's fields, each of its type."""
    if len(line) > LONGEST_LINE:
        raise InputError(f"it is longer than {LONGEST_LINE} characters.")
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise InputError(f"it is no JSON ({error}).") from error
    except RecursionError as error:
        raise InputError("it is no JSON (nested too deep).") from error
    if not isinstance(entry, dict):
        raise InputError("it is no JSON object.")
    entry = fields_of(entry)
    for field in ("image", "question"):
        if not isinstance(entry.get(field), str):
            raise InputError(f"{field}: give a string.")
    return entry | {"answers": _accepted(entry.get("answers")), "kind": _kind(entry.get("kind"))}


def _accepted(value: Any) -> tuple[str, ...]:
    try:
        answers = answers_of(value)
    except InputError:
        answers = ()
    if not answers:
        raise InputError("answers: give a list of at least one string.")
    return answers


def _kind(value: Any) -> str:
    """What a report calls the kind of a question; one word for all that say nothing of it."""
    if value is None or value == "":
        return "question"
    if not isinstance(value, str | int | float):
        raise InputError("kind: give a string.")
    return quoted(value) if isinstance(value, str) and not value.isprintable() else str(value)


def _scenes(
    seed: int, scenes: int, plan: Plan | None, styles: tuple[str, ...], fonts: tuple[str, ...]
) -> Iterator[Example]:
    composer = Composer(assets_dir() / "sprites")
    for i in range(scenes):
        scene = composer.scene((seed, i), plan=plan, styles=styles, fonts=fonts)
        image = scene.image()
        for question in one_of_each(composer, scene, (seed, i, 1)):
            yield Example(i, image, question.label, question.text, (question.answer,))
