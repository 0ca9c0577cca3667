"""The evaluate command, and the files that must agree with each other."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import scipy.stats

from resprune.evaluate.accuracy import accuracy, normalised, wilson
from resprune.evaluate.sets import emoji_test
from resprune.models.loading import load

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resprune", "evaluate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_it_prints_accuracy_by_kind_with_intervals() -> None:
    done = run("--scenes", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["set"] == "emoji-test" and report["keep"] == "100%"
    low, high = report["interval"]
    assert 0 <= low <= report["accuracy"] <= high <= 1
    assert sum(kind["questions"] for kind in report["kinds"].values()) == report["questions"] > 10
    assert sum(kind["right"] for kind in report["kinds"].values()) == report["right"]


@pytest.mark.parametrize("arguments", [("--set", "nothing"), ("--scenes", "0"), ("--keep", "0"), ("--method", "magic")])
def test_bad_arguments_are_refused_in_one_line(arguments: tuple[str, str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout


def test_right_and_wrong_answers_are_told_apart() -> None:
    """Answers that the model itself gives count as right, any others as wrong."""
    from dataclasses import replace

    from resprune.compare.comparison import answer

    model, processor = load("bundled")
    examples = list(emoji_test(1))[:3]
    said = [next(u.answer.answer for u in answer(model, processor, e.image, e.question) if u.answer) for e in examples]
    own = [replace(e, answers=(text,)) for e, text in zip(examples, said, strict=True)]
    other = [replace(e, answers=("A zeppelin.",)) for e in examples]
    assert accuracy(model, processor, own)["accuracy"] == 1
    assert accuracy(model, processor, other)["accuracy"] == 0


def test_the_bundled_model_knows_its_world() -> None:
    """Well above what guessing gives; the whole set is asked by ``make accuracy``."""
    model, processor = load("bundled")
    report = accuracy(model, processor, emoji_test(6))
    assert report["accuracy"] > 0.6  # an answer that fits the kind of question is right about one time in five
    assert report["kinds"]["present yes"]["questions"] == report["kinds"]["present no"]["questions"] == 6


def test_held_out_scenes_do_not_repeat() -> None:
    pictures = {e.scene: e.image.tobytes() for e in emoji_test(8)}
    assert len(set(pictures.values())) == 8


def test_normalising_ignores_case_punctuation_and_articles() -> None:
    assert normalised("A dog.") == normalised("dog") == "dog"
    assert normalised("Two cars, a dog") != normalised("Three cars, a dog")


def test_requirements_and_package_agree() -> None:
    listed = re.findall(r"^[^#\s].*$", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(listed) == sorted(project["dependencies"] + project["optional-dependencies"]["demo"])


def test_the_library_does_not_import_the_page() -> None:
    for file in (ROOT / "resprune").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (app|gradio|plotly)\b", file.read_text(), flags=re.MULTILINE), file


def test_assets_are_small_and_their_sources_named() -> None:
    files = [f for f in (ROOT / "assets").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 60e6
    licences = (ROOT / "assets" / "LICENSES.md").read_text()
    assert all(f.name in licences for f in (ROOT / "assets" / "sprites").glob("*.png"))


@pytest.mark.parametrize(("hits", "count"), [(5, 10), (0, 20), (20, 20), (1, 3), (900, 1000)])
def test_wilsons_interval_is_scipys(hits: int, count: int) -> None:
    known = scipy.stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((known.low, known.high), abs=1e-4)


def test_nothing_is_known_of_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
