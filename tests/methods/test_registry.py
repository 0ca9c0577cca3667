"""Which methods there are: ours, and those that a package of somebody else's brings along."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

from resprune.errors import InputError
from resprune.methods import Method, available, built_in, described, markdown, parse
from resprune.methods.registry import GROUP, _sorted_out
from resprune.options import option

ROOT = Path(__file__).parents[2]
MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods import Method
from resprune.options import option
from resprune.selection import Selection


@dataclass(frozen=True)
class Tail(Method):
    """The last tokens of a picture.

    Paper: none, a test
    """

    name: ClassVar[str] = "tail"
    skip: int = option(0, "how many to pass over at the end", least=0, usual=(0, 8))

    def select(self, tokens, k):
        order = torch.arange(len(tokens)).flip(0).roll(-self.skip)
        return Selection.of(order, k)
'''
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
[project.entry-points."resprune.methods"]
{points}
[tool.setuptools]
py-modules = ["{module}"]
"""
SAYS = """
import json
from app.methods import page_methods
from app.page import build
from app.registry import Registry
from resprune.compare import plan
from resprune.settings import Settings
demo = build(Registry("bundled"))
ids = [getattr(block, "elem_id", None) for block in demo.blocks.values()]
tries = [str(one) for one in plan(Settings(), ["tail:skip=2", "random"], [4], [0])]
print(json.dumps({"page": list(page_methods()), "field": "tail-skip" in ids, "tries": tries}))
"""


def installed(tmp_path: Path, name: str, points: str, source: str = MODULE) -> None:
    """Install a package with entry points into ``tmp_path / "site"``."""
    folder = tmp_path / name
    folder.mkdir()
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, points=points, module=module))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(folder)], check=True, capture_output=True)


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True)


def test_a_method_of_another_package_is_everywhere_and_a_broken_one_harms_nobody(tmp_path):
    installed(tmp_path, "tail-package", 'tail = "tail_package:Tail"')
    installed(tmp_path, "broken-package", 'broken = "broken_package:Gone"', "raise ImportError('no such library')\n")
    listed = run(tmp_path, "-m", "resprune", "methods")
    assert listed.returncode == 0
    assert re.search(r"^tail +The last tokens of a picture$", listed.stdout, re.MULTILINE)
    wanted = "The method 'broken' of broken-package cannot be used (no such library); mend or uninstall it.\n"
    assert listed.stderr == wanted and "broken" not in listed.stdout
    asked = run(tmp_path, "-m", "resprune", "answer", "assets/examples/cake.png", "What?", "--method", "broken")
    assert asked.returncode == 2 and wanted in asked.stderr
    picture = "assets/examples/cake.png"
    answer = run(
        tmp_path, "-m", "resprune", "answer", picture, "What?", "--keep", "8", "--method", "tail", "--skip", "2"
    )
    assert answer.returncode == 0 and "tail: 8 of 576 visual tokens" in answer.stdout
    said = run(tmp_path, "-c", SAYS)
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout.splitlines()[-1])
    assert told == {"page": [*told["page"][:5], "tail"], "field": True, "tries": ["tail:skip=2", "random"]}
    assert len(told["page"]) == 6


@dataclass(frozen=True)
class Mine(Method):
    """Of a test."""

    name: ClassVar[str] = "mine"


class Loose(Mine):
    """No dataclass of its own."""

    name: ClassVar[str] = "loose"


def offer(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, f"test_registry:{value}", GROUP)


def test_a_name_that_is_taken_is_refused():
    found, wrong = _sorted_out([offer("mine", "Mine"), offer("resprune", "Mine")])
    assert found == {"mine": Mine}
    assert wrong == {
        "resprune": "The method name 'resprune' of test_registry is taken by ResPrune itself; rename it there."
    }
    found, wrong = _sorted_out([offer("mine", "Mine"), EntryPoint("mine", "other:Mine", GROUP)])
    assert found == {}
    assert wrong["mine"].startswith("The method name 'mine' is taken twice, by other and test_registry; uninstall one")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("gone", "Gone", "has no attribute 'Gone'"),
        ("offer", "offer", "no subclass of resprune.methods.Method"),
        ("yours", "Mine", "calls itself 'mine'"),
        ("loose", "Loose", "no frozen dataclass"),
    ],
)
def test_what_is_no_method_is_named(name, value, says):
    found, wrong = _sorted_out([offer(name, value), offer("mine", "Mine")])
    assert found == {"mine": Mine}, "the rest works"
    assert says in wrong[name] and wrong[name].endswith("; mend or uninstall it.")


def test_each_of_ours_says_what_it_is_in_its_own_file():
    for name, method in built_in().items():
        lines = [method.summary(), *(one.meaning for one in method.options())]
        assert all(lines) and method.fact("Paper"), name
        assert method.fact("Source") or method.fact("Paper").startswith("none"), name
        assert str(method.__module__).startswith("resprune.methods.")
    assert len({method.__module__ for method in built_in().values()}) == len(built_in())


def test_the_table_of_the_documents_is_what_the_command_prints():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert markdown() in page


def test_a_method_is_described_with_its_options():
    said = described(available()["resprune"])
    assert "alpha=ALPHA: how much the question weighs; 0 ignores it; a number of 0 or more (8.0)" in said
    assert "arXiv 2603.21105" in said


@pytest.mark.parametrize("text", [None, 5, b"resprune", ["resprune"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(InputError, match="give its name, or an object such as"):
        parse(text)


def test_no_option_of_a_method_is_used_outside_its_file():
    """But for words that mean other things too, and for the format of records of an earlier version."""
    many_meanings = {"words", "indices", "seed", "sign"}
    owned = {one.name for method in built_in().values() for one in method.options()} - many_meanings
    assert owned == {"alpha", "kernel", "pooling", "weighting"}
    files = [file for part in ("resprune", "app") for file in (ROOT / part).rglob("*.py")]
    used = {
        (str(file.relative_to(ROOT)), name)
        for file in files
        if file.parent.name != "methods"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (name := getattr(node, "attr", None) or getattr(node, "arg", None)) in owned
    }
    # A function of mathematics takes what the options of a method say.
    assert used == {("resprune/question/relevance.py", "pooling")}


@dataclass(frozen=True)
class Ranges(Method):
    """Of a test."""

    name: ClassVar[str] = "ranges"
    whole: int = option(3, "a whole number", least=1, most=5)
    share: float = option(0.5, "a share", least=0, most=1)
    free: float = option(0.0, "any number")
    text: str = option("a", "a letter", choices=("a", "b"))


def test_ranges_are_said_in_words():
    said = {one.name: one.range for one in Ranges.options()}
    wanted = {"whole": "a whole number from 1 to 5", "share": "a number from 0 to 1", "free": "a number"}
    assert said == wanted | {"text": "'a' or 'b'"}
    assert str(Ranges(whole=4, share=0.25, text="b")) == "ranges:whole=4:share=0.25:text=b"
    for wrong in ({"whole": 6}, {"whole": 2.5}, {"share": 1.5}, {"free": float("inf")}, {"text": "c"}, {"text": ["a"]}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*; give "):
            Ranges(**wrong)
