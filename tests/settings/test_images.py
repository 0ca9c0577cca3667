"""Whatever a user hands in becomes an upright RGB picture, or one clear sentence."""

import io
import struct
import tracemalloc
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from resprune.errors import InputError
from resprune.images import ENDINGS, FORMATS, MAX_PIXELS, MAX_QUESTION, checked_question, open_image, opening

RED, BLUE = (255, 0, 0), (0, 0, 255)
TURNED_HEIC = Path(__file__).with_name("turned.heic")  # halves(64, 32), held so that it has to be turned by a quarter
HEIF_READER = any(map(find_spec, opening.HEIF_READERS))


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 8, height: int = 4) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def chunk(name: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes, behind: bool = False, whole: bool = True) -> bytes:
    """``halves(64, 32)`` as a PNG that has one chunk more, before its pixels or behind, perhaps a damaged one."""
    made, plain = bytearray(chunk(name, content)), saved(halves(64, 32))
    made[-1] ^= not whole
    at = plain.index(b"IEND" if behind else b"IDAT") - 4
    return plain[:at] + bytes(made) + plain[at:]


def texts(*lengths: int, packed: bool = True) -> bytes:
    """The same, saved with texts of so many letters."""
    info = PngInfo()
    for number, length in enumerate(lengths):
        info.add_text(f"workflow {number}", "n" * length, zip=packed)
    return saved(halves(64, 32), pnginfo=info)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG with a header that claims a size, whatever follows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read(kind, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(saved(halves(64, 32), kind, **({"lossless": True} if kind == "WEBP" else {})))
    opened = open_image(path)
    assert (opened.image.mode, opened.image.size, opened.notes) == ("RGB", (64, 32), [])
    assert np.allclose(opened.image.getpixel((10, 10)), RED, atol=8)
    assert np.allclose(opened.image.getpixel((50, 10)), BLUE, atol=8)


def test_the_same_picture_by_path_text_bytes_and_pil(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(saved(halves()))
    pixels = [np.asarray(open_image(s).image) for s in (path, str(path), path.read_bytes(), halves())]
    assert all((p == pixels[0]).all() for p in pixels)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no picture at all", "no picture that can be read"),
        (b"", "no picture that can be read"),
        (b"%PDF-1.7 ...", "no picture that can be read"),
        (saved(halves(200, 200))[:150], "damaged or cut short"),
        (saved(halves(200, 200), "JPEG")[:-200], "damaged or cut short"),
        (png(8, 4, b"\0" * 10), "damaged or cut short"),
    ],
    ids=["text", "empty", "pdf", "cut png", "cut jpeg", "png without its pixels"],
)
def test_what_is_no_whole_picture_is_refused(content, says, tmp_path):
    with pytest.raises(InputError, match=says):
        open_image(content)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_image(tmp_path / "file")


def test_formats_beyond_the_list_are_refused():
    with pytest.raises(InputError, match="no picture that can be read"):
        open_image(saved(halves(), "PPM"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"There is no file .*nothing\.png"):
        open_image(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="cannot be read"):
        open_image(tmp_path)


@pytest.mark.parametrize("size", [(8001, 8000), (20_000, 20_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_decoding(size, monkeypatch, recwarn):
    assert size[0] * size[1] > MAX_PIXELS
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("decoded"))
    with pytest.raises(InputError, match="million"):
        open_image(png(*size))
    assert not recwarn.list, "the command line prints one line"


def test_the_cap_is_not_below_what_it_says():
    assert open_image(Image.new("RGB", (8000, 8000))).image.size == (8000, 8000)


def test_an_endless_strip_is_refused_and_a_long_one_is_not():
    with pytest.raises(InputError, match="strip"):
        open_image(Image.new("RGB", (1, 201)))
    assert open_image(Image.new("RGB", (30, 3000))).image.size == (30, 3000)


def test_one_pixel():
    opened = open_image(saved(Image.new("RGB", (1, 1), RED)))
    assert (opened.image.size, opened.image.getpixel((0, 0))) == ((1, 1), RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_transparency_is_laid_on_white(mode):
    if mode in ("RGBA", "LA", "PA"):
        image = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
        opened = open_image(image if mode == "PA" else saved(image))
    else:  # one colour is declared transparent
        opened = open_image(saved(Image.new(mode, (4, 4)), transparency=(0, 0, 0) if mode == "RGB" else 0))
    assert opened.image.getcolors() == [(16, (255, 255, 255))]
    assert opened.notes == ["Transparent parts of the picture are shown on white."]


def test_half_transparent_red_is_pink_and_an_opaque_alpha_is_no_news():
    assert open_image(Image.new("RGBA", (1, 1), (255, 0, 0, 128))).image.getpixel((0, 0)) == (255, 127, 127)
    opaque = open_image(Image.new("RGBA", (1, 1), (255, 0, 0, 255)))
    assert (opaque.image.getpixel((0, 0)), opaque.notes) == (RED, [])


def test_the_camera_s_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # held so that the picture has to be turned clockwise by a quarter
    opened = open_image(saved(halves(64, 32), "JPEG", exif=exif, quality=95))
    assert opened.image.size == (32, 64)
    assert np.allclose(opened.image.getpixel((16, 5)), RED, atol=12)
    assert np.allclose(opened.image.getpixel((16, 60)), BLUE, atol=12)


BROKEN_EXIF = {
    "none": b"",
    "garbage": b"garbage!",
    "no tags": b"II*\0\x08\0\0\0",
    "cut": b"II*\0\x08\0\0\0\x06\0\x12\x01\x03\0",
    "far away": b"MM\0*\xff\xff\xff\xff",
    "a text": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0",
}
BOMB = zlib.compress(bytes(40_000_000))
XMP = b'<x:xmpmeta tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    "content",
    [
        texts(1_400_000),
        texts(3_000_000, packed=False),
        texts(*[900_000] * 80),
        saved(halves(64, 32), icc_profile=bytes(1_500_000)),
        with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
        with_chunk(b"zTXt", b"workflow\0\0" + BOMB),
        with_chunk(b"zTXt", b"workflow\0\0" + BOMB, behind=True),
        with_chunk(b"zTXt", b"workflow\0\7no such method"),
        with_chunk(b"iCCP", b"profile\0\0" + BOMB),
        with_chunk(b"iCCP", b"profile\0\7no such method"),
        with_chunk(b"iCCP", b""),
        with_chunk(b"tEXt", b"a\0b", whole=False),
        with_chunk(b"eXIf", b"II*\0", whole=False),
        with_chunk(b"cHRM", b"123"),
        with_chunk(b"gAMA", b"1"),
        with_chunk(b"pHYs", b"1"),
        with_chunk(b"sRGB", b""),
        with_chunk(b"tEXt", b"Raw profile type exif\0no hexadecimal"),
        with_chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
    ],
    ids=range(19),
)
def test_metadata_of_a_png_costs_no_picture_and_no_memory(content, tmp_path):
    (tmp_path / "picture.png").write_bytes(content)
    tracemalloc.start()
    opened = [open_image(source) for source in (content, tmp_path / "picture.png")]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all((np.asarray(each.image) == np.asarray(halves(64, 32))).all() and not each.notes for each in opened)
    assert most < 3_000_000, "nothing of it is read or unpacked"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_costs_no_picture(kind, exif):
    if kind == "PNG":
        content = with_chunk(b"eXIf", exif)
    else:
        content = saved(halves(64, 32), kind, exif=b"Exif\0\0" + exif, quality=95)
    opened = open_image(content)
    assert (opened.image.size, opened.notes) == ((64, 32), [])
    assert np.allclose(opened.image.getpixel((10, 10)), RED, atol=12)


def test_broken_exif_of_an_image_that_is_open_costs_no_picture():
    image = halves(64, 32)
    image.info["exif"] = b"Exif\0\0garbage!"
    assert open_image(image).image.size == (64, 32)


@pytest.mark.parametrize("number", range(1, 9))
def test_pixels_lie_as_pillow_itself_would_turn_them(number):
    exif = Image.Exif()
    exif[0x0112] = number
    content = saved(halves(64, 32).transform((64, 32), Image.Transform.AFFINE, (1, 1, 0, 0, 1, 0)), exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert (np.asarray(open_image(content).image) == np.asarray(wanted)).all()


@pytest.mark.parametrize(
    "content",
    [
        with_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    ],
    ids=["EXIF", "XMP", "packed XMP"],
)
def test_a_png_is_turned_by_what_says_so(content):
    assert open_image(content).image.size == (32, 64)


@pytest.mark.skipif(not HEIF_READER, reason="no package that reads HEIC is installed")
def test_a_heic_photograph_is_read_upright(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(TURNED_HEIC.read_bytes())
    for source in (TURNED_HEIC.read_bytes(), tmp_path / "IMG_1.HEIC"):
        opened = open_image(source)
        assert (opened.image.mode, opened.image.size, opened.notes) == ("RGB", (32, 64), [])
        assert np.allclose(opened.image.getpixel((16, 10)), RED, atol=12)
        assert np.allclose(opened.image.getpixel((16, 50)), BLUE, atol=12)


def test_heic_without_a_package_that_reads_it_is_refused_clearly(monkeypatch):
    monkeypatch.setattr(opening, "HEIF_READERS", ("no_such_package",))
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    opening._read_heif.cache_clear()
    try:
        with pytest.raises(InputError, match="no picture that can be read; give one of PNG, JPEG"):
            open_image(TURNED_HEIC.read_bytes())
    finally:
        opening._read_heif.cache_clear()


def test_avif_is_read_where_pillow_reads_it():
    opened = open_image(saved(halves(64, 32), "AVIF", quality=95))
    assert (opened.image.mode, opened.image.size) == ("RGB", (64, 32))
    assert np.allclose(opened.image.getpixel((10, 10)), RED, atol=12)


def test_a_film_is_no_picture():
    with pytest.raises(InputError, match="no picture that can be read"):
        open_image(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500))


def test_the_endings_are_all_that_pillow_has_for_the_formats():
    known = {end for end, kind in Image.registered_extensions().items() if kind in (*FORMATS, *opening.PERHAPS, "MPO")}
    assert known <= set(ENDINGS)
    assert {".jfif", ".jpe", ".heic", ".avif"} <= set(ENDINGS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(kind):
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    opened = open_image(saved(Image.fromarray(ramp), kind))
    assert opened.notes == []
    assert (np.asarray(opened.image)[..., 0] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_stretched_with_a_note(dtype):
    values = np.array([[-1000, 1000], [0, 500]], dtype=dtype)
    opened = open_image(saved(Image.fromarray(values), "TIFF"))
    assert np.asarray(opened.image)[..., 0].tolist() == [[0, 255], [128, 191]]
    assert "range of values is unknown" in opened.notes[0]


def test_one_value_of_unknown_range_and_no_number_at_all():
    flat = open_image(Image.fromarray(np.full((2, 2), 7, dtype=np.float32)))
    lost = open_image(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)))
    assert flat.image.getcolors() == lost.image.getcolors() == [(4, (0, 0, 0))]


def test_cmyk():
    opened = open_image(saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.allclose(opened.image.getpixel((5, 5)), RED, atol=12)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    seen = Image.open(io.BytesIO(content))
    seen.seek(1)  # whoever hands it in may have looked at another
    for source in (content, seen):
        opened = open_image(source)
        assert opened.image.getpixel((4, 4)) == RED
        assert opened.notes == ["The picture has several frames; only the first one is used."]


def test_a_photograph_with_a_second_view_is_no_animation():
    image = halves(64, 32)
    opened = open_image(saved(image, "MPO", save_all=True, append_images=[image.rotate(180)]))
    assert opened.notes == []
    assert np.allclose(opened.image.getpixel((10, 10)), RED, atol=12)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_ends_in_a_picture_or_a_sentence(data):
    kind = data.draw(st.sampled_from(FORMATS))
    content = bytearray(saved(halves(16, 16), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        opened = open_image(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert opened.image.mode == "RGB"


def test_a_question_is_trimmed_and_any_script_is_welcome():
    assert checked_question("  What is it?\n") == "What is it?"
    for text in ("图片里有什么动物", "ما هذا؟", "🐶?", "<image> </s>"):
        assert checked_question(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), (" \n\t", "empty"), ("x" * (MAX_QUESTION + 1), "4,001 characters"), ("x" * 100_000, "100,000")],
)
def test_empty_and_endless_questions_are_refused(text, says):
    with pytest.raises(InputError, match=says):
        checked_question(text)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="Unicode"):
        checked_question("What\udcff?")


def test_the_longest_question_passes():
    assert len(checked_question("x" * MAX_QUESTION)) == MAX_QUESTION
