"""Pictures to start from: the examples, new scenes on demand, and questions that fit them."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ASSETS = Path(os.environ.get("RESPRUNE_ASSETS") or Path(__file__).parents[1] / "assets")
ANYTHING = ("What is in the picture?", "What is in the middle?", "What is at the top left?")
OFFERED = 3  # questions at once


@dataclass(frozen=True)
class Example:
    """A picture that comes with the program, a question that fits it, and more of them."""

    path: Path
    question: str
    more: tuple[str, ...] = ()


def examples(folder: Path = ASSETS / "examples") -> list[Example]:
    """The example scenes, in the order of ``examples.json``."""
    entries = json.loads((folder / "examples.json").read_text())
    return [Example(folder / e["image"], e["question"], tuple(e.get("more", ()))) for e in entries]


def questions_for(example: Example) -> list[str]:
    """More questions that fit an example: those that come with it, then some that fit any picture."""
    return [text for text in dict.fromkeys([*example.more, *ANYTHING]) if text != example.question][:OFFERED]


def new_scene() -> tuple[Image.Image, list[str]]:
    """Compose a scene that nobody has seen yet, and questions about it, the first of which is to be asked."""
    from resprune.world import Composer, one_of_each

    composer, seed = Composer(ASSETS / "sprites"), random.randrange(2**31)
    scene = composer.scene(seed)
    found = [question.text for question in one_of_each(composer, scene, seed)]
    return scene.image(), random.sample(found, min(1 + OFFERED, len(found)))
