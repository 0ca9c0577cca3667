"""A file is found by its name, however the name is spelled; where it could be several, nobody guesses."""

import os
import unicodedata
from pathlib import Path

import pytest

from resprune.errors import InputError
from resprune.images import Names, closest_file, readings

BEAR = "B\u00e4r.png"
TAKEN_APART = unicodedata.normalize("NFD", BEAR)


def of(*names: str) -> Names:
    return Names((name, name) for name in names)


def test_the_same_name_wins_then_the_same_letters_then_letters_of_any_size() -> None:
    assert TAKEN_APART != BEAR
    assert of("photo.png", "Photo.PNG", "PHOTO.png").closest("Photo.PNG") == "Photo.PNG"
    assert of(TAKEN_APART, "b\u00e4r.PNG").closest(BEAR) == TAKEN_APART
    assert of(BEAR).closest(TAKEN_APART) == BEAR
    assert of(TAKEN_APART).closest("B\u00c4R.PNG") == TAKEN_APART
    assert of("STRASSE.png").closest("stra\u00dfe.png") == "STRASSE.png"
    assert of("a.png", "b.png").closest("c.png") is None
    assert of().closest("c.png") is None


def test_what_could_be_several_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"^'PHOTO\.png' could be 'Photo\.PNG' or 'photo\.png'; write the name exactly"
    ):
        of("photo.png", "Photo.PNG").closest("PHOTO.png")


@pytest.mark.parametrize("code_page", ["utf-8", "cp437", "cp850", "cp1252"])
def test_a_name_without_a_code_page_is_read_in_all_that_are_likely(code_page: str) -> None:
    assert BEAR in readings(BEAR.encode(code_page))
    assert readings(BEAR.encode())[0] == BEAR
    assert readings(b"plain.png") == ["plain.png"]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Photos/Photo.PNG", "photos/photo.png"),
        (f"Zoo/{TAKEN_APART}", f"zoo/{BEAR}"),
        ("Photos/a.png", " Photos\\a.png"),
        ("a.png", "./Photos/../a.png"),
        (os.fsdecode(BEAR.encode("latin-1")), BEAR),
    ],
)
def test_a_file_is_found_part_by_part(tmp_path: Path, stored: str, asked: str) -> None:
    (tmp_path / "Photos").mkdir()
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    (tmp_path / stored).write_bytes(b"x")
    found = closest_file(tmp_path, asked)
    assert found and found.samefile(tmp_path / stored)
    assert closest_file(tmp_path, str(tmp_path / asked.strip().replace("\\", "/"))).samefile(found)


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    assert closest_file(tmp_path, "a.PNG") is None
    (tmp_path / "deep").mkdir()
    os.utime(tmp_path, ns=(1, 1))
    (tmp_path / "a.png").write_bytes(b"x")
    assert closest_file(tmp_path, "a.PNG") == tmp_path / "a.png"


@pytest.mark.parametrize("name", ["gone.png", "gone/a.png", "", ".", "a\0b", "\ud800.png", "a.png/b.png"])
def test_what_is_no_file_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert closest_file(tmp_path, name) is None


def test_a_name_that_none_can_be_is_refused_in_a_few_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^'data:image/png;base64,A+'\.\.\. is a picture itself; store it in a file"):
        closest_file(tmp_path, "data:image/png;base64," + "A" * 50_000)
    with pytest.raises(InputError, match=r"^'x+'\.\.\. cannot be looked for \(File name too long\); check the name\.$"):
        closest_file(tmp_path, "x" * 300)
