"""Pictures to start from: the six examples, and new scenes on demand."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ASSETS = Path(os.environ.get("RESPRUNE_ASSETS") or Path(__file__).parents[1] / "assets")


@dataclass(frozen=True)
class Example:
    """A picture that comes with the program, and a question that fits it."""

    path: Path
    question: str


def examples(folder: Path = ASSETS / "examples") -> list[Example]:
    """The example scenes, in the order of ``examples.json``."""
    entries = json.loads((folder / "examples.json").read_text())
    return [Example(folder / entry["image"], entry["question"]) for entry in entries]


def new_scene() -> tuple[Image.Image, str]:
    """Compose a scene that nobody has seen yet, and a question about it."""
    from resprune.evaluate.questions import one_of_each
    from resprune.evaluate.scenes import Composer

    composer, seed = Composer(ASSETS / "sprites"), random.randrange(2**31)
    scene = composer.scene(seed)
    return scene.image(), random.choice(one_of_each(composer, scene, seed)).text
