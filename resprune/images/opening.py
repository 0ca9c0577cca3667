"""A picture of any common kind as plain RGB pixels, and a question as text."""

import importlib
import io
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from resprune.errors import InputError
from resprune.images.metadata import PNG, without_metadata

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# Where this installation reads them: AVIF as Pillow was built, HEIC with one of these packages of the same author, of
# which the first has no encoder and the freer licence.
PERHAPS = ("AVIF", "HEIF")
HEIF_READERS = ("pi_heif", "pillow_heif")
# How files of these formats end, of which some also have rarer names. Content decides, never the ending.
ENDINGS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".mpo"),
)
MAX_PIXELS = 64_000_000  # a 64-megapixel photograph; 192 MB of RGB
MAX_ASPECT = 200  # processors resize the short side, so an extreme strip would grow without bound
MAX_QUESTION = 4000  # characters

Source = str | Path | bytes | Image.Image

# By EXIF's number of how the camera was held, what turns the picture upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class OpenedImage:
    """A picture ready for a processor.

    Attributes:
        image: RGB, 8 bits a channel, upright.
        notes: sentences for the user about what was done to it, such as which frame of an animation was taken.
    """

    image: Image.Image
    notes: list[str] = field(default_factory=list)


def open_image(source: Source) -> OpenedImage:
    """Open a picture of any common kind as RGB.

    Transparency is laid on white, 16-bit and float pixels are scaled to 8 bits, CMYK is converted, the orientation
    that a camera wrote into EXIF is applied, and of an animation the first frame is taken. What else is written beside
    the pixels, however much of it and however broken, changes nothing.

    Args:
        source: a path, a file's bytes, or an image of PIL.

    Raises:
        InputError: if it is no image in one of :data:`FORMATS` or :data:`PERHAPS`, is damaged or cut short, has more
            than :data:`MAX_PIXELS` pixels (refused before decoding), or is a strip longer than :data:`MAX_ASPECT` to 1.
    """
    with warnings.catch_warnings():  # what PIL only warns about, it then refuses, or it is refused here
        warnings.simplefilter("ignore")
        with nullcontext(source) if isinstance(source, Image.Image) else _identify(source) as image:
            return _checked(image)


def _checked(image: Image.Image) -> OpenedImage:
    width, height = image.size
    if width * height == 0:
        raise InputError("The picture has no pixels; give another one.")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"The picture has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million; make it smaller."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"The picture is a strip of {width} x {height} pixels, longer than {MAX_ASPECT} to 1; crop it first."
        )
    try:
        return _as_rgb(image)
    except Exception as error:  # decoders of hostile files raise whatever they like
        raise InputError("The picture is damaged or cut short; save it again and retry.") from error


def checked_question(text: str) -> str:
    """The question without surrounding white space.

    Raises:
        InputError: if it is empty, no text, no valid Unicode, or longer than :data:`MAX_QUESTION` characters.
    """
    if not isinstance(text, str):
        raise InputError("The question is no text; type one.")
    text = text.strip()
    if not text:
        raise InputError("The question is empty; type one.")
    if len(text) > MAX_QUESTION:
        raise InputError(f"The question has {len(text):,} characters; shorten it to {MAX_QUESTION:,} at most.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("The question is not valid Unicode text; type it again.") from error
    return text


def _identify(source: str | Path | bytes) -> Image.Image:
    """Read the header of a file, and no pixel."""
    name = "The upload" if isinstance(source, bytes) else f"{str(source)!r}"
    try:
        return Image.open(_readable(source), formats=(*FORMATS, *_perhaps(source)))
    except FileNotFoundError as error:
        raise InputError(f"There is no file {name}; check its name.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels; make it smaller.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is no picture that can be read; give one of {', '.join(FORMATS)}.") from error
    except OSError as error:
        if error.strerror is None:  # said by a decoder, not by the system
            raise InputError("The picture is damaged or cut short; save it again and retry.") from error
        raise InputError(f"{name} cannot be read ({error.strerror}); check the file.") from error
    except Exception as error:  # a header that is no header
        raise InputError(f"{name} is damaged; save it again and retry.") from error


def _head(source: str | Path | bytes) -> bytes:
    """The first bytes, which tell the kind of a file."""
    if isinstance(source, bytes):
        return source[:12]
    with Path(source).open("rb") as file:
        return file.read(12)


def _readable(source: str | Path | bytes) -> io.BytesIO | str | Path:
    """What Pillow is to open; the file itself, if its kind holds nothing that would cost the picture."""
    if _head(source).startswith(PNG):
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            return io.BytesIO(without_metadata(file))
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _perhaps(source: str | Path | bytes) -> list[str]:
    """Those of :data:`PERHAPS` that can be read here; none for a file that is none of them."""
    if _head(source)[4:8] != b"ftyp":  # as AVIF and HEIC begin, and films
        return []
    _read_heif()
    return [name for name in PERHAPS if name in Image.OPEN]


@cache
def _read_heif() -> None:
    """Tell Pillow how HEIC is read, where a package knows it, and let it find all that it reads itself."""
    Image.init()
    for name in HEIF_READERS:
        try:
            importlib.import_module(name).register_heif_opener()
        except ImportError:  # not there, or not for this machine
            continue
        return


def _upright(image: Image.Image) -> Image.Image:
    """Turn it as the camera was held; as it is, where nobody can read how that was."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # broken EXIF, at which Pillow raises whatever it likes: the pixels are whole
        return image
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image) -> OpenedImage:
    notes = []
    # A photograph that carries a preview or a second view (MPO) has frames too, but nobody would call it animated.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        image.seek(0)
        notes.append("The picture has several frames; only the first one is used.")
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        image, stretched = _eight_bit(image)
        if stretched:
            notes.append("The picture's range of values is unknown; its darkest is shown black, its brightest white.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notes.append("Transparent parts of the picture are shown on white.")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return OpenedImage(image.convert("RGB"), notes)


def _eight_bit(image: Image.Image) -> tuple[Image.Image, bool]:
    """Scale grey values of more than 8 bits; also whether their range had to be guessed."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    low, high, stretched = 0.0, 65535.0, False
    if not image.mode.startswith("I;16") and not (values.min() >= 0 and 255 < values.max() <= 65535):
        low, high, stretched = float(values.min()), float(values.max()), True
    scaled = (values / 255 - low / 255) * (255 * 255 / ((high - low) or 1.0))  # in this order nothing overflows
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)), stretched
