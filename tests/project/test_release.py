"""What is released: sdist and wheel, built, installed apart from the checkout, and asked a question."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import resprune
from resprune.models.hub import assets_dir

ROOT = Path(__file__).parents[2]
BUILD = "from setuptools import build_meta; import sys; getattr(build_meta, sys.argv[1])(sys.argv[2])"
NEEDED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of a copy of the tree, and the wheel of that sdist."""
    folder = tmp_path_factory.mktemp("release")
    tree, out = folder / "tree", folder / "out"
    tree.mkdir()
    for name in (*NEEDED, "assets", "resprune"):
        (tree / name).symlink_to(ROOT / name)
    _build(tree, "build_sdist", out)
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    _build(folder / f"resprune-{resprune.__version__}", "build_wheel", out)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of an environment that has the wheel, and the dependencies of this one, but not the checkout."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    # A path that a .pth file names has its own .pth files passed over, such as that of an editable install.
    site = next((folder / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_sdist_and_wheel_carry_the_model_and_no_page(built):
    version = resprune.__version__
    assert sorted(f.name for f in built.iterdir()) == [
        f"resprune-{version}-py3-none-any.whl",
        f"resprune-{version}.tar.gz",
    ]
    wheel = next(built.glob("*.whl"))
    assert wheel.stat().st_size < 30e6
    names = set(zipfile.ZipFile(wheel).namelist())
    carried = {f.relative_to(ROOT) for part in ("bundled", "sprites") for f in (ROOT / "assets" / part).iterdir()}
    assert {f"resprune/{path}" for path in carried} <= names
    assert {name.split("/")[0] for name in names} == {"resprune", f"resprune-{version}.dist-info"}


def test_the_installed_command_answers_away_from_the_checkout(installed, tmp_path):
    picture = assets_dir() / "examples" / "cake.png"
    question = "What animal is in the picture?"
    said = _run(installed / "resprune", "answer", picture, question, "--keep", "64", "--json", cwd=tmp_path)
    answer = json.loads(said)
    assert (answer["model"], answer["tokens_kept"], answer["tokens_total"]) == ("bundled", 64, 576)
    assert answer["answer"]
    where = _run(
        installed / "python", "-c", "import resprune, resprune.models as m; print(m.assets_dir())", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_a_damaged_model_of_an_installed_package_is_noticed(installed, tmp_path):
    folder = next(installed.parent.glob("lib/python*/site-packages/resprune/assets/bundled"))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        command = [installed / "resprune", "answer", assets_dir() / "examples" / "cake.png", "What is it?"]
        told = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    finally:
        weights.write_bytes(whole)
    assert told.returncode == 2
    assert "damaged" in told.stderr


def test_the_version_stands_in_one_place():
    version = resprune.__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f'"{version}"' not in (ROOT / "pyproject.toml").read_text()


def _build(tree: Path, what: str, out: Path) -> None:
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, what, out], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(program: Path, *arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([program, *arguments], cwd=cwd, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RESPRUNE_ASSETS")}
