"""Hostile and odd pictures, each made here."""

import io
import struct
import zipfile
import zlib
from functools import partial

import numpy as np
from case import ANSWER, Case
from PIL import Image

EDGE = "Picture"
NONE = "The upload is no picture that can be read; give one of PNG, JPEG, WEBP, GIF, BMP, TIFF."
DAMAGED = "The picture is damaged or cut short; save it again and retry."
FRAMES = f"{ANSWER}: The picture has several frames; only the first one is used."
WHITE = f"{ANSWER}: Transparent parts of the picture are shown on white."
RANGE = f"{ANSWER}: The picture's range of values is unknown; its darkest is shown black, its brightest white."


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """An image as a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Colours that run from corner to corner."""
    ramp = np.add.outer(np.arange(height), np.arange(width)) * 255 // (width + height)
    return Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1).astype(np.uint8)).convert(mode)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims a size, whatever follows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    """Two frames."""
    return saved(plain(), kind, save_all=True, append_images=[plain().rotate(180)])


def turned(orientation: int) -> bytes:
    """A JPEG whose EXIF says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(plain(), "JPEG", exif=exif)


def with_exif_text() -> bytes:
    """Markup in every text field of EXIF."""
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x013B, 0x8298):
        exif[tag] = "<script>alert(1)</script>"
    return saved(plain(), "JPEG", exif=exif)


def beside(kind: bytes, content: bytes) -> bytes:
    """A PNG with something beside its pixels that is none of them."""
    made = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    file = saved(plain())
    return file[:33] + made + file[33:]  # behind the header


def packed(before: bytes) -> bytes:
    """40 MB in 40 kB."""
    return before + zlib.compress(bytes(40_000_000))


def zipped() -> bytes:
    """A zip with a picture in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", saved(plain()))
    return file.getvalue()


def grey16() -> Image.Image:
    """The whole range of 16 bits."""
    return Image.fromarray(np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64))


def floats(low: float, high: float) -> bytes:
    """A TIFF of floats."""
    return saved(Image.fromarray(np.linspace(low, high, 4096, dtype=np.float32).reshape(64, 64)), "TIFF")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="file:///etc/passwd"/></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
BOMB = "has {} x {} pixels, more than 64 million; make it smaller."

_GIVEN = [
    ("an empty file", lambda: b"", NONE),
    ("text", lambda: b"no picture", NONE),
    ("random bytes", lambda: np.random.default_rng(0).bytes(5000), NONE),
    ("an SVG with script and a file of the server", lambda: SVG, NONE),
    ("HTML", lambda: HTML, NONE),
    ("a PDF's first bytes", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", NONE),
    ("an EPS, which asks for Ghostscript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NONE),
    ("a PPM, which is not on the list of formats", lambda: saved(plain(), "PPM"), NONE),
    ("an ICO, which is not on the list of formats", lambda: saved(plain(), "ICO"), NONE),
    ("a zip", zipped, NONE),
    ("a PNG cut in the middle", lambda: saved(plain(300, 300))[:200], DAMAGED),
    ("a JPEG cut in the middle", lambda: saved(plain(300, 300), "JPEG")[:-900], DAMAGED),
    ("a WEBP cut in the middle", lambda: saved(plain(300, 300), "WEBP")[:-900], DAMAGED),
    ("a GIF cut in the middle", lambda: saved(plain(300, 300), "GIF")[:-900], DAMAGED),
    ("a PNG without pixels", lambda: png(64, 48), DAMAGED),
    ("a PNG with a wrong checksum", lambda: saved(plain()).replace(b"IDAT", b"IDAT\x00", 1), DAMAGED),
    ("a PNG bomb of 3.6 billion pixels", lambda: png(60_000, 60_000),
     "The upload has more than 64 million pixels; make it smaller."),
    ("a PNG bomb of 81 million pixels", lambda: png(9000, 9000), "The picture " + BOMB.format(9000, 9000)),
    ("a PNG of no width", lambda: png(0, 10), NONE),
    ("a strip of 1 to 5000", lambda: saved(plain(1, 5000)),
     "The picture is a strip of 1 x 5000 pixels, longer than 200 to 1; crop it first."),
    ("one pixel", lambda: saved(plain(1, 1)), ANSWER),
    *((f"an animated {kind}", partial(animated, kind), FRAMES) for kind in ("GIF", "WEBP", "PNG", "TIFF")),
    ("CMYK", lambda: saved(plain(mode="CMYK"), "JPEG"), ANSWER),
    ("16 bits of grey, PNG", lambda: saved(grey16()), ANSWER),
    ("16 bits of grey, TIFF", lambda: saved(grey16(), "TIFF"), ANSWER),
    ("floats below zero", lambda: floats(-5, 5), RANGE),
    ("floats of the largest range", lambda: floats(-3e38, 3e38), RANGE),
    ("no number in any pixel", lambda: floats(float("nan"), float("nan")), RANGE),
    ("a palette", lambda: saved(plain(mode="P")), ANSWER),
    ("a palette with a transparent colour", lambda: saved(p := plain(mode="P"), transparency=p.getpixel((0, 0))),
     WHITE),
    ("all transparent", lambda: saved(Image.new("RGBA", (50, 50), (9, 9, 9, 0))), WHITE),
    ("one bit a pixel", lambda: saved(plain(mode="1")), ANSWER),
    ("LAB colours", lambda: saved(plain(mode="LAB"), "TIFF"), ANSWER),
    *((f"EXIF orientation {n}", partial(turned, n), ANSWER) for n in (3, 6, 99)),
    ("markup in every text of EXIF", with_exif_text, ANSWER),
    ("a PNG with a text that unpacks to 40 MB", lambda: beside(b"zTXt", packed(b"workflow\0\0")), ANSWER),
    ("a PNG with a colour profile of 40 MB", lambda: beside(b"iCCP", packed(b"profile\0\0")), ANSWER),
    ("a PNG with EXIF that is none", lambda: beside(b"eXIf", b"garbage!"), ANSWER),
    ("a JPEG that is HTML as well", lambda: saved(plain(), "JPEG") + HTML, ANSWER),
    ("a PNG that is a zip as well", lambda: saved(plain()) + zipped(), ANSWER),
    ("a GIF that is script as well", lambda: saved(plain(), "GIF") + b"*/=1;alert(1)//", ANSWER),
]  # fmt: skip
CASES = [Case(EDGE, *given) for given in _GIVEN]
