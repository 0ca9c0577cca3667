"""Is ResPrune better, than what, by how much, and where not: ``python -m benchmarks.evidence`` (``make evidence``).

Every method at every budget on every set, the same questions for all, each study in a folder of ``evidence/``, so that
a kill loses nothing. The tables of the full size go between the markers of ``docs/evidence.md`` and of ``README.md``;
the smaller sizes print theirs.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import curves, failures
from benchmarks.machine import machine
from benchmarks.tables import SETS, VALIDATION, costs, first_table, sections, table
from resprune.__main__ import main as resprune
from resprune.evaluate import OURS
from resprune.methods import built_in

MARKERS = "<!-- {name}: begin -->\n{text}\n<!-- {name}: end -->"
PAGE, FRONT = Path("docs/evidence.md"), Path("README.md")
FIRST = ("emoji-test", "emoji-crowded")  # what README shows
DRAWN = ("resprune+mass", "resprune", "paper", "divprune+mass", "divprune", "cdpruner", "random+mass", "random")
METHODS = tuple(name for name, method in built_in().items() if not (method.inside or method.by_hand))


@dataclass(frozen=True)
class Size:
    """How much is asked: pictures of each set, methods with and without mass, budgets, draws of random, variants."""

    scenes: int
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: int
    sets: tuple[str, ...] = tuple(SETS)
    variants: tuple[str, ...] = ()
    variant_scenes: int = 20
    variant_budgets: tuple[int, ...] = (64, 16)


def both(*methods: str) -> tuple[str, ...]:
    """Each method without mass and with it."""
    return tuple(name + mass for name in methods for mass in ("", "+mass"))


VARIANTS = (
    *both("resprune", "paper", "divprune", "uniform", "random"),
    *(f"resprune+mass:alike={alike}" for alike in (-1, 0.5, 0.85)),
    *(f"resprune:{setting}+mass" for setting in (
        "alpha=0", "alpha=2", "alpha=4", "alpha=16", "alpha=32", "sign=-1",
        "weighting=power:alpha=0.5", "weighting=power:alpha=1", "weighting=power:alpha=2",
        "kernel=raw", "kernel=raw:alpha=16", "kernel=centred", "kernel=both",
        "words=all", "pooling=mean", "pooling=pooled", "words=all:pooling=pooled",
    )),
    "resprune+mass+sequential",
)  # fmt: skip
SIZES = {
    "full": Size(12, (*both(*METHODS), "fastv"), (128, 64, 32, 16, 8), 3, variants=VARIANTS),
    "medium": Size(12, both("resprune", "paper", "divprune", "uniform", "random"), (64, 16), 2),
    "small": Size(2, both("resprune", "random"), (16,), 1, ("emoji-test",)),
}


def study(name: str, size: Size, out: Path, variants: bool = False) -> dict[str, Any]:
    """Run or go on with one set's study, or with that of the variants on it, and return its report.

    Raises:
        SystemExit: if it cannot be run; why is on standard error.
    """
    folder = out / (f"variants-{name}" if variants else name)
    methods, budgets, scenes = size.methods, size.budgets, size.scenes
    if variants:
        methods, budgets, scenes = size.variants, size.variant_budgets, size.variant_scenes
    asked = ["--set", name, "--scenes", str(scenes), "--seeds", str(size.seeds), "--out", str(folder)]
    if status := resprune(["evaluate", *asked, "--method", ",".join(methods), "--keep", ",".join(map(str, budgets))]):
        raise SystemExit(status)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def insert(file: Path, name: str, text: str) -> None:
    """Put ``text`` between a file's markers of that name.

    Raises:
        ValueError: if the file has no such markers.
    """
    whole = file.read_text(encoding="utf-8")
    begin, end = (f"<!-- {name}: {edge} -->" for edge in ("begin", "end"))
    if begin not in whole or end not in whole:
        raise ValueError(f"{file} has no markers for {name}.")
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    file.write_text(before + MARKERS.format(name=name, text=text) + after, encoding="utf-8")


def place(file: Path | None, name: str, text: str) -> None:
    """:func:`insert`, or print where there is no file."""
    if file:
        insert(file, name, text)
    else:
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full", help="how much is asked (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the studies (%(default)s)")
    parser.add_argument("--docs", type=Path, help="page of the tables (full: docs/evidence.md, else none)")
    parser.add_argument("--readme", type=Path, help="file of the first table (full: README.md, else none)")
    args = parser.parse_args()
    size, out = SIZES[args.size], args.out / args.size
    full = args.size == "full"
    page, readme = args.docs or (PAGE if full else None), args.readme or (FRONT if full else None)
    ran = machine(torch.device("cpu"))
    reports = {name: study(name, size, out) for name in size.sets}
    variants = {name: study(name, size, out, variants=True) for name in VALIDATION if size.variants}
    (out / "machine.json").write_text(json.dumps(ran, indent=1) + "\n", encoding="utf-8")
    place(page, "evidence", sections(reports, ran))
    place(readme, "evidence", first_table({name: reports[name] for name in FIRST if name in reports}))
    if not variants:
        return
    insert(page, "variants", "\n\n".join(f"{name}:\n\n{table(report)}" for name, report in variants.items()))
    insert(page, "costs", costs(reports["emoji-test"]))
    curves(reports, DRAWN, page.parent / "evidence-curves.png")
    told = {name: failures(out / name, OURS, 16, page.parent / f"evidence-{name}.png") for name in FIRST}
    lines = [f"- {name}: {sentence}" for name, sentences in told.items() for sentence in sentences]
    insert(page, "failures", "\n".join(lines))


if __name__ == "__main__":
    main()
