"""Question sets that no model of ours was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from resprune.evaluate.questions import one_of_each
from resprune.evaluate.scenes import Composer
from resprune.models import assets_dir

EMOJI_TEST_SEED = 9001  # training draws its scenes from triples of numbers, never from pairs


@dataclass(frozen=True)
class Example:
    """One question about one picture; ``answers`` are the accepted ones, ``scene`` numbers the picture."""

    scene: int
    image: Image.Image
    kind: str
    question: str
    answers: tuple[str, ...]


def emoji_test(scenes: int) -> Iterator[Example]:
    """New scenes in the training styles, each asked at most one question a kind, and presence once for yes and no."""
    composer = Composer(assets_dir() / "sprites")
    for i in range(scenes):
        scene = composer.scene((EMOJI_TEST_SEED, i))
        for question in one_of_each(composer, scene, (EMOJI_TEST_SEED, i, 1)):
            yield Example(i, scene.image(), question.label, question.text, (question.answer,))


SETS = {"emoji-test": emoji_test}
