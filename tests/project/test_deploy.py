"""What a Space and a container are made of; ``make space-check`` and ``make container-check`` start them."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from checks import container, space

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """The folder that would be pushed."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: what is pushed is what git knows")
    space.build(tmp_path)
    return tmp_path


def test_the_folder_of_the_space_is_in_order(folder):
    assert space.problems(folder) == []
    assert sum(file.stat().st_size for file in space.files(folder)) < 60e6
    requirements = (folder / "requirements.txt").read_text()
    assert all(bounded in requirements for bounded in space.ZEROGPU.values())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("sdk_version: 6.31.0", "sdk_version: 5.0.0"), "sdk_version is 5.0.0"),
        (("app_file: app.py", "app_file: main.py"), "app_file"),
        (('python_version: "3.12"', "python_version: 3.12"), "in quotes"),
        (("colorTo: red", "colorTo: orange"), "Colours"),
        (("short_description: ", "short_description: " + "a" * 60), "60 characters"),
        (("license: apache-2.0", ""), "lacks license"),
        (("llava-hf/llava-1.5-7b-hf", "llava-hf/none"), "llava-hf/none"),
    ],
)
def test_what_the_hub_would_refuse_is_found(folder, change, problem):
    readme = folder / "README.md"
    text = readme.read_text()
    assert change[0] in text
    readme.write_text(text.replace(*change, 1))
    assert any(problem in found for found in space.problems(folder))


def test_a_binary_file_outside_lfs_is_found(folder):
    shutil.copyfile(folder / "assets" / "page.png", folder / "page.bin")
    assert space.problems(folder) == ["page.bin is binary or large and not in LFS."]


def test_the_image_is_made_of_files_that_are_there_and_let_in():
    copied, variables = container.last_stage((ROOT / "Dockerfile").read_text())
    assert {"app.py", "app", "resprune", "assets"} <= set(copied)
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    assert set(copied) | {"requirements.txt"} == set(allowed)
    assert all((ROOT / name).exists() for name in copied)
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["HOST"] == "0.0.0.0"


def test_the_image_runs_as_nobody_special_and_tells_its_health():
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", text, flags=re.MULTILINE)
    assert "HEALTHCHECK" in text
    page = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["page"]
    assert page["read_only"] is True
    assert page["cap_drop"] == ["ALL"]


def test_the_lock_fits_the_requirements():
    from packaging.requirements import Requirement

    locked = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            needed = Requirement(line)
            assert needed.specifier.contains(locked[needed.name.lower()]), line
