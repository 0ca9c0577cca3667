"""What a question set consists of."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Example:
    """One question about one picture; ``answers`` are the accepted ones, ``scene`` numbers the picture."""

    scene: int
    image: Image.Image
    kind: str
    question: str
    answers: tuple[str, ...]
