"""easy-VQA, a public question set made by others: one coloured shape on a plain picture of 64 px.

https://github.com/vzhou842/easy-VQA; its Python package carries pictures and questions. A model is asked zero-shot:
only the phrasing is changed to that of the bundled model's world. A negated question ("is there not a circle?") is
asked as its positive, and the other answer counts as right; those are counted under kinds of their own.
"""

import re
from collections.abc import Iterator
from itertools import groupby

from PIL import Image

from resprune.errors import InputError
from resprune.evaluate.examples import Example
from resprune.world import with_article

_COLOURS = {"gray": "grey"}


def easy_vqa(scenes: int) -> Iterator[Example]:
    """The questions of the first ``scenes`` pictures of the test half, 1000 in all.

    Raises:
        InputError: if the package is not installed.
    """
    try:
        import easy_vqa as package
    except ImportError as error:
        raise InputError("The question set needs the package easy-vqa; install it: pip install easy-vqa.") from error
    paths = package.get_test_image_paths()
    asked = sorted(zip(*package.get_test_questions(), strict=True), key=lambda row: row[2])
    for scene, rows in groupby(asked, key=lambda row: row[2]):
        if scene >= scenes:
            return
        with Image.open(paths[scene]) as picture:
            image = picture.convert("RGB")
        for text, answer, _ in rows:
            kind, question, right = rephrased(text, answer)
            yield Example(scene, image, kind, question, (right, _COLOURS.get(right, right)))


def rephrased(text: str, answer: str) -> tuple[str, str, str]:
    """``(kind, question, answer)`` of one of the set's questions, in the words of the bundled model's world."""
    if answer in ("yes", "no"):
        thing = re.search(r"(\w+ shape|circle|rectangle|triangle)", text.replace("gray", "grey"))[1]
        kind = "colour present" if thing.endswith("shape") else "shape present"
        if re.search(r"\b(not|no)\b", text):
            kind, answer = f"{kind}, negated", "no" if answer == "yes" else "yes"
        return f"{kind} {answer}", f"Is there {with_article(thing)} in the picture?", answer
    if "color" in text:
        shape = re.search(r"(circle|rectangle|triangle|shape)", text)[1]
        return "which colour", f"What colour is the {shape}?", answer
    if colour := re.search(r"what is the (\w+) shape", text):
        return "which shape, by colour", f"What shape is {colour[1].replace('gray', 'grey')}?", answer
    return "which shape", "Which shape is in the picture?", answer
