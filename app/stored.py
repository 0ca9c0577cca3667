"""Runs of the examples that come with the program, so that nobody meets an empty page: ``python -m app.stored``.

Each file of ``assets/stored`` is a record of :mod:`app.record`, with the name of an example in place of the picture.
Runs of an example or a question that is no longer there are passed over.
"""

import json
import threading
from pathlib import Path
from typing import Any

from app.asking import Options, request
from app.patch_map import data_address
from app.record import FORMATS, record_of, upgraded, with_differences
from app.registry import Registry
from app.scenes import ASSETS, Example, examples

FOLDER = ASSETS / "stored"
OPTIONS = Options(mass=True)  # what the page starts with


def stored_runs(folder: Path = FOLDER) -> dict[tuple[str, str], dict[str, Any]]:
    """The stored records by the name of their picture and their question."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {(r["picture"], r["question"]): upgraded(r) for r in records if r["format"] in FORMATS}


def stored_run(example: Example, runs: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any] | None:
    """The record of an example, with its picture; ``None`` if there is none."""
    from PIL import Image

    record = runs.get((example.path.name, example.question))
    if record is None:
        return None
    with Image.open(example.path) as image:
        return record | {"picture": data_address(image.convert("RGB"))}


def run(registry: Registry, example: Example, options: Options = OPTIONS, *, explained: bool = True) -> dict[str, Any]:
    """Answer an example on the model of ``registry``, which is loaded; ``explained`` says where the answers differ."""
    with request(registry, str(example.path), example.question, options, threading.Event()) as asked:
        for _ in asked.updates():
            pass
        record = record_of(asked)
        return with_differences(record, asked.differences()) if explained else record


def main() -> None:
    """Run every example, each twice so that the first only warms up, and store what the second one says."""
    registry = Registry()
    for _ in registry.wait():
        pass
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for number, example in enumerate(examples()):
        run(registry, example)
        record = run(registry, example) | {"picture": example.path.name}
        path = FOLDER / f"{number:02}-{example.path.stem}.json"
        path.write_text(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{path.name}: {record['full']['answer']!r} / {record['pruned']['answer']!r}")


if __name__ == "__main__":
    main()
