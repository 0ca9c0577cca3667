"""Whatever a user hands in becomes an upright RGB picture, or one clear sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resprune.errors import InputError
from resprune.images import FORMATS, MAX_PIXELS, MAX_QUESTION, checked_question, open_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 8, height: int = 4) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG with a header that claims a size, whatever follows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

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
