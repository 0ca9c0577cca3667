"""README: what it says to type is typed here, and does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_its_python_runs_as_printed():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, last = done.stdout.splitlines()
    assert answer.strip() == "A penguin." and "['animal', 'picture']" in last


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:`|\n    )make ([a-z][a-z-]*)", "".join(p.read_text() for p in PAGES))))
)
def test_every_target_that_a_page_names_is_there(target):
    done = subprocess.run(["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_demo_installs_no_tests_and_no_training():
    made = subprocess.run(["make", "-n", "-B", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "app.py" in made and "requirements.txt" in made
    assert not re.search(r"\[test|pytest|train", made)
    assert (
        "[test,train]" in subprocess.run(["make", "-n", "-B", "test"], cwd=ROOT, capture_output=True, text=True).stdout
    )


@pytest.mark.parametrize("page", sorted({path.relative_to(ROOT) for path in PAGES}), ids=str)
def test_every_link_to_a_file_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []


@pytest.mark.parametrize("page", sorted({path.relative_to(ROOT) for path in PAGES}), ids=str)
def test_every_test_that_a_page_names_is_there(page):
    named = re.findall(r"`(tests/[\w/]+\.py)", (ROOT / page).read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_is_not_needed_is_not_imported():
    code = "import sys, resprune; a = 'torch' in sys.modules; import resprune.methods, app.methods; "
    code += "sys.exit(a or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
