"""Question sets: the held-out ones, easy-VQA, and those that a user writes."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from resprune.errors import InputError
from resprune.evaluate.accuracy import accuracy
from resprune.evaluate.easy_vqa import rephrased
from resprune.evaluate.sets import SETS, QuestionFile
from resprune.world.scenes import COLOURS
from resprune.world.sprites import SHAPES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(2):
        Image.new("RGB", (40, 40), (i * 100, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def written(folder: Path, *lines: object) -> QuestionFile:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return QuestionFile(path)


GOOD = {"image": "0.png", "question": "Is there a dog?", "answers": ["No.", "no"]}


@pytest.mark.parametrize("name", ["emoji-test", "emoji-style", "emoji-crowded"])
def test_a_held_out_set_is_the_same_each_time_and_its_pictures_differ(name: str) -> None:
    first, again = (list(SETS[name](4)) for _ in range(2))
    assert [(e.question, e.answers, e.image.tobytes()) for e in first] == [
        (e.question, e.answers, e.image.tobytes()) for e in again
    ]
    pictures = {e.scene: e.image.tobytes() for e in first}
    assert len(set(pictures.values())) == len(pictures) == 4
    others = {
        e.image.tobytes() for other in SETS if other.startswith("emoji") and other != name for e in SETS[other](4)
    }
    assert not others & set(pictures.values())


def test_easy_vqa_is_asked_in_the_words_of_the_world() -> None:
    examples = list(islice(SETS["easy-vqa"](40), 400))
    assert len({e.scene for e in examples}) > 30 and examples[0].image.size == (64, 64)
    words = Counter(word for e in examples for word in e.question.lower().rstrip("?").split())
    assert words["circle"] and words["rectangle"] and not words["not"] and not words["color"]
    answers = {answer for e in examples for answer in e.answers} - {"yes", "no", "gray"}
    assert answers <= {*COLOURS, *SHAPES}


@pytest.mark.parametrize(
    ("text", "answer", "kind", "question", "right"),
    [
        ("is there not a circle?", "yes", "shape present, negated no", "Is there a circle in the picture?", "no"),
        (
            "is no gray shape present?",
            "no",
            "colour present, negated yes",
            "Is there a grey shape in the picture?",
            "yes",
        ),
        ("is a gray shape present?", "yes", "colour present yes", "Is there a grey shape in the picture?", "yes"),
        ("what color is the shape?", "gray", "which colour", "What colour is the shape?", "gray"),
        ("what is the gray shape?", "circle", "which shape, by colour", "What shape is grey?", "circle"),
        ("what shape does the image contain?", "circle", "which shape", "Which shape is in the picture?", "circle"),
    ],
)
def test_a_question_of_easy_vqa_is_rephrased(text: str, answer: str, kind: str, question: str, right: str) -> None:
    assert rephrased(text, answer) == (kind, question, right)


def test_a_file_is_read_line_by_line(folder: Path) -> None:
    questions = written(folder, GOOD, "", {**GOOD, "image": "1.png", "kind": "colour"}, GOOD)
    examples = list(questions)
    assert [(e.scene, e.kind) for e in examples] == [(0, "question"), (1, "colour"), (0, "question")]
    assert examples[0].answers == ("No.", "no")
    assert not questions.skipped


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ({**GOOD, "image": "gone.png"}, "image: there is no file 'gone.png'"),
        ({**GOOD, "image": "questions.jsonl"}, "image: .*no picture"),
        ({**GOOD, "question": " "}, "question: The question is empty"),
        ({**GOOD, "question": 7}, "question: give a string"),
        ({"image": "0.png", "question": "Is it?"}, "answers: give a list"),
        ({**GOOD, "answers": []}, "answers: give a list"),
        ({**GOOD, "answers": [None]}, "answers: give a list"),
        ('{"image": "' + "x" * 200_000, "longer than"),
        ("[" * 50_000, "no JSON"),
        ({**GOOD, "image": "data:image/png;base64," + "A" * 300}, "image: 'data:.*is a picture itself; store it"),
        ({**GOOD, "image": "x" * 300}, "image: .*File name too long"),
        ({**GOOD, "image": "A.PNG"}, "image: 'A.PNG' could be 'a.PNG' or 'a.png'; write the name exactly"),
        ({**GOOD, "image": "\ud800"}, "image: there is no file"),
        ({**GOOD, "answers": [" "]}, "answers: give a list"),
        ({**GOOD, "kind": ["a"]}, "kind: give a string"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_asked(folder: Path, bad: object, says: str) -> None:
    for name in ("a.png", "a.PNG"):
        Image.new("RGB", (40, 40)).save(folder / name)
    questions = written(folder, GOOD, bad, GOOD)
    assert len(list(questions)) == 2
    (line,) = questions.skipped
    assert line.startswith("Line 2: ")
    assert re.search(says, line)


def test_the_mark_of_utf_8_before_the_first_line_is_none_of_it(folder: Path) -> None:
    path = folder / "questions.jsonl"
    path.write_text(json.dumps(GOOD) + "\n", encoding="utf-8-sig")
    questions = QuestionFile(path)
    assert len(list(questions)) == 1 and not questions.skipped


def test_a_file_that_is_no_utf_8_or_cannot_be_read_says_which(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "questions.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + '\n"B\u00e4r"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"questions\.jsonl' cannot be read as UTF-8 text"):
        list(QuestionFile(path))
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(InputError, match=r"cannot be read \(Input/output error\)"):
        list(QuestionFile(path))


@pytest.mark.parametrize("kind", [None, "", "question"])
def test_a_kind_that_says_nothing_is_none(folder: Path, kind: object) -> None:
    (example,) = written(folder, {**GOOD, "kind": kind})
    assert example.kind == "question"


@pytest.mark.parametrize(
    "fields", [{"answer": "no"}, {"Answer": ["no"]}, {"ANSWERS": "no|"}, {"answers": None, "answer": "no"}]
)
def test_fields_are_known_however_they_are_written(folder: Path, fields: dict) -> None:
    (example,) = written(folder, {"Image": "0.png", " QUESTION": "Is there a dog?", **fields})
    assert (example.question, example.answers) == ("Is there a dog?", ("no",))


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Ba\u0308r.png", "B\u00e4r.png"),
        ("B\u00e4r.png", "Ba\u0308r.png"),
        ("Photo.PNG", "photo.png"),
        ("deep/Photo.JFIF", "Deep\\photo.jfif"),
    ],
)
def test_a_picture_is_found_however_its_name_is_spelled(folder: Path, stored: str, asked: str) -> None:
    (folder / "deep").mkdir()
    Image.new("RGB", (40, 40), (9, 9, 9)).save(folder / stored, "PNG")
    examples = list(written(folder, {**GOOD, "image": asked}, {**GOOD, "image": stored}))
    assert [example.image.getpixel((0, 0)) for example in examples] == [(9, 9, 9)] * 2
    assert [example.scene for example in examples] == [0, 0], "one picture, whose encoding is shared"


def test_the_same_name_wins_over_one_that_is_alike(folder: Path) -> None:
    for number, name in enumerate(("photo.png", "Photo.PNG")):
        Image.new("RGB", (40, 40), (number, 9, 9)).save(folder / name)
    examples = list(written(folder, *({**GOOD, "image": name} for name in ("photo.png", "Photo.PNG"))))
    assert [example.image.getpixel((0, 0))[0] for example in examples] == [0, 1]


def test_a_set_of_which_no_line_can_be_used_says_why(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds no question .*: Line 1: it is no JSON .*; Line 2: image: .*gone\.png'\.$"
    ):
        list(written(folder, "{", {**GOOD, "image": "gone.png"}))
    with pytest.raises(InputError, match=r"Line 10: [^;]*; and 5 more lines\.$"):
        list(written(folder, *["{"] * 15))
    with pytest.raises(InputError, match=r"holds no question .*: it has no line"):
        list(written(folder, ""))


@pytest.mark.parametrize("how", [[], ["--out", "study", "--method", "resprune", "--keep", "9"]])
def test_the_command_says_why_no_line_can_be_used(folder: Path, how: list[str]) -> None:
    path = written(folder, "{", {**GOOD, "image": "gone.png"}).path
    command = [sys.executable, "-m", "resprune", "evaluate", "--set", str(path), *how]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode not in (0, -9)
    assert "Line 1: it is no JSON" in done.stderr and "Line 2: image: there is no file 'gone.png'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_without_questions_is_refused(folder: Path, tiny) -> None:
    with pytest.raises(InputError, match="no question"):
        accuracy(*tiny, written(folder, "{"))
    with pytest.raises(InputError, match="emoji-test"):
        QuestionFile(folder / "gone.jsonl")


def test_the_command_tells_what_it_skipped(folder: Path) -> None:
    path = written(folder, GOOD, {**GOOD, "image": "gone.png"}).path
    command = [sys.executable, "-m", "resprune", "evaluate", "--set", str(path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["questions"] == 1 and report["skipped"] == ["Line 2: image: there is no file 'gone.png'."]
    assert "Line 2" in done.stderr
