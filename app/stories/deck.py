"""The deck of stories: what is stored of each, and how the browser is given it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from app import panels
from app.patch_map import data_address
from app.record import FORMATS, answers_of, options_of
from app.scenes import ASSETS
from app.session import SIDES, Side

FOLDER = ASSETS / "stories"


@dataclass(frozen=True)
class Told:
    """One run of a story.

    Attributes:
        record: see :mod:`app.record`; its ``picture`` is the name of a file beside the deck.
        truth: the right answer.
        label: says in a few words what is special about this run.
    """

    record: dict[str, Any]
    truth: str
    label: str = ""

    @property
    def verdicts(self) -> dict[str, bool]:
        """Of each side, whether its answer is right."""
        return {side: said_the_same(self.record[side]["answer"], self.truth) for side in SIDES}


@dataclass(frozen=True)
class Story:
    """One step of the deck.

    Attributes:
        name: of the story, as an address.
        title, lead, reason: what it says: a claim, how to read what is shown, why it is so.
        runs: one or two.
        mode: of the patch maps, see ``map_state.js``.
        grows: whether the map is to be played from the first token to the last.
        figures: whether the times and the memory of the answers belong to it.
    """

    name: str
    title: str
    lead: str
    reason: str
    runs: tuple[Told, ...]
    mode: str = "kept"
    grows: bool = False
    figures: bool = False


def said_the_same(answer: str, truth: str) -> bool:
    """Whether an answer is the right one, as the question sets count it."""
    from resprune.evaluate import normalised

    return normalised(answer) == normalised(truth)


@cache
def stories(folder: Path = FOLDER) -> tuple[Story, ...]:
    """The stories of ``deck.json``, in its order; none if it was written for another version of the page."""
    deck = json.loads((folder / "deck.json").read_text(encoding="utf-8"))
    if deck["format"] not in FORMATS:
        return ()
    return tuple(Story(**story | {"runs": tuple(Told(**run) for run in story["runs"])}) for story in deck["stories"])


def picture(told: Told, folder: Path = FOLDER) -> Path:
    """The file of a run's picture."""
    return folder / told.record["picture"]


def shown(story: Story, folder: Path = FOLDER) -> dict[str, Any]:
    """What the browser draws of a story; every text of a model's or a question's is escaped or plain text."""
    first = story.runs[0].record
    return {
        "name": story.name,
        "title": story.title,
        "lead": story.lead,
        "reason": story.reason,
        "mode": story.mode,
        "grows": story.grows,
        "figures": story.figures,
        "origin": panels.stored(first, ""),
        "runs": [_run(told, folder, story.grows) for told in story.runs],
    }


def _run(told: Told, folder: Path, grows: bool) -> dict[str, Any]:
    record = told.record
    # What only other budgets need stays away where there are none.
    drawn = record["map"] | ({} if grows else {"ranks": None, "energy": None})
    with Image.open(picture(told, folder)) as image:
        source = data_address(image.convert("RGB"))
    answers = dict(zip(SIDES, answers_of(record), strict=True))
    return {
        "label": told.label,
        "question": record["question"],
        "truth": told.truth,
        "map": drawn | {"src": source},
        "verdict": panels.verdict((answers["full"], answers["pruned"])),
        "panels": {side: panels.panel(side, Side("done", answer.answer, answer)) for side, answer in answers.items()},
        "right": told.verdicts,
        "tokens": options_of(record).keep,
    }
