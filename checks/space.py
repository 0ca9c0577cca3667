"""The folder that a Hugging Face Space is pushed, built, looked through, started, and asked one question.

    python -m checks.space --python PATH     # of an environment that has what the folder's requirements.txt names

It is started as another user without root where this one is root, with a folder that cannot be written and a cache that
can, and without a network for models.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from checks.serving import Served, other_user

ROOT = Path(__file__).parents[1]
PUSHED = ("README.md", "LICENSE", "app.py", "app", "resprune", "assets", "docs", "requirements.txt")
# What ZeroGPU's emulation of CUDA supports; elsewhere any torch from 2.8 on will do.
ZEROGPU = {"torch>=2.8": "torch>=2.8,<2.12", "torchvision>=0.23": "torchvision>=0.23,<0.27"}
LFS = ("*.safetensors", "*.png", "*.jpg")  # the hub wants binary files there, and all files above 10 MB
LARGE = 10_000_000
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NEEDED = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license"}


def build(folder: Path) -> None:
    """Fill an empty folder with what git knows of :data:`PUSHED`, and the two files that only a Space needs."""
    listed = subprocess.run(["git", "ls-files", "-z", *PUSHED], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # a file deleted but not committed yet is in the list
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    requirements = (ROOT / "requirements.txt").read_text()
    lines = [ZEROGPU.get(line, line) for line in requirements.splitlines()]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    (folder / ".gitattributes").write_text("".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in LFS))


def front_matter(readme: str) -> dict[str, Any]:
    """The fields that the hub reads from the top of a README; none if it has no such block."""
    found = re.match(r"---\n(.*?)\n---\n", readme, flags=re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def problems(folder: Path) -> list[str]:
    """What the hub would refuse or run otherwise than it runs here; one sentence each."""
    from resprune.models import CATALOGUE

    fields, found = front_matter((folder / "README.md").read_text()), []
    if missing := NEEDED - fields.keys():
        return [f"The front matter of README.md lacks {', '.join(sorted(missing))}."]
    gradio = re.search(r"^gradio(?:\[.*\])?==(\S+)$", (folder / "requirements.txt").read_text(), flags=re.MULTILINE)
    if not gradio or fields["sdk_version"] != gradio[1]:
        found.append(f"sdk_version is {fields['sdk_version']}, requirements.txt says {gradio and gradio[1]}.")
    if fields["sdk"] != "gradio" or not (folder / fields["app_file"]).is_file():
        found.append("sdk must be gradio, and app_file a file of the folder.")
    if not isinstance(fields["python_version"], str):
        found.append("python_version must be in quotes: YAML reads 3.10 as 3.1.")
    if {fields["colorFrom"], fields["colorTo"]} - COLOURS:
        found.append(f"Colours are {', '.join(sorted(COLOURS))}.")
    if len(fields.get("short_description", "")) > 60:
        found.append("short_description has more than 60 characters.")
    found += [
        f"There is no model {name} in the catalogue." for name in fields.get("models", []) if name not in CATALOGUE
    ]
    for file in files(folder):
        kept = any(file.match(pattern) for pattern in LFS)
        if not kept and (file.stat().st_size > LARGE or b"\0" in file.read_bytes()[:8000]):
            found.append(f"{file.relative_to(folder)} is binary or large and not in LFS.")
    return found


def files(folder: Path) -> list[Path]:
    """All files of a folder."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def main() -> None:
    """Do all of it and print what was found, as JSON.

    Raises:
        SystemExit: if something is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--python", type=Path, help="start it with this one; without, the folder is looked through only"
    )
    parser.add_argument("--out", type=Path, help="only write the folder, to this place, which must not exist")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True)
        build(options.out)
        return
    with tempfile.TemporaryDirectory(prefix="space-") as place:
        folder = Path(place) / "folder"
        folder.mkdir()
        os.chmod(place, 0o755)
        build(folder)
        everything = files(folder)
        large = [f for f in everything if any(f.match(pattern) for pattern in LFS)]
        said: dict[str, Any] = {
            "files": len(everything),
            "megabytes": round(sum(f.stat().st_size for f in everything) / 1e6, 1),
            "in LFS": len(large),
            "megabytes in LFS": round(sum(f.stat().st_size for f in large) / 1e6, 1),
            "problems": problems(folder),
        }
        if options.python and not said["problems"]:
            with Served(folder, options.python, user=other_user()) as served:
                said |= served.asked()
    print(json.dumps(said, indent=2, ensure_ascii=False))
    if said["problems"]:
        sys.exit("The folder is not ready to be pushed.")
    print("pass" if options.python else "The folder is as it must be; it was not started.")


if __name__ == "__main__":
    main()
