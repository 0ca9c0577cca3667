"""What a user hands in, made safe: a picture as plain RGB pixels, a question as text, a file by its name."""

from resprune.images.names import Names, closest_file, readings, readings_of
from resprune.images.opening import (
    ENDINGS,
    FORMATS,
    MAX_ASPECT,
    MAX_PIXELS,
    MAX_QUESTION,
    OpenedImage,
    Source,
    checked_question,
    open_image,
)

__all__ = [
    "ENDINGS",
    "FORMATS",
    "MAX_ASPECT",
    "MAX_PIXELS",
    "MAX_QUESTION",
    "Names",
    "OpenedImage",
    "Source",
    "checked_question",
    "closest_file",
    "open_image",
    "readings",
    "readings_of",
]
