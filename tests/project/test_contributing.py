"""The examples of CONTRIBUTING.md: each applies to the tree as it is, and does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL | re.MULTILINE)


def test_examples_are_short():
    assert len(EXAMPLES) == 3  # a method, a family, a panel
    assert all(len(example.splitlines()) < 60 for example in EXAMPLES)


def test_examples_apply_and_work(tmp_path):
    for part in ("resprune", "app"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    for example in EXAMPLES:
        # Not a repository: whatever is around the folder has no say in where the diff belongs.
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
        applied = subprocess.run(
            ["git", "apply", "-"],
            input=example,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert applied.returncode == 0, applied.stderr
    ruff = [sys.executable, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "resprune", "app"]
    assert subprocess.run(ruff, cwd=tmp_path).returncode == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "tests")])}
    run = [sys.executable, ROOT / "tests" / "extended.py"]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "as documented" in done.stdout
