"""Is ResPrune better, than what, by how much, and where not: ``python -m benchmarks.evidence`` (``make evidence``).

Every method at every budget on every set, the same questions for all, each study in a folder of ``evidence/``, so that
a kill loses nothing. The tables go between the markers of ``docs/evidence.md`` and of ``README.md``.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from resprune.__main__ import main as resprune

MARKERS = "<!-- {name}: begin -->\n{text}\n<!-- {name}: end -->"
SETS = {
    "emoji-test": "new scenes in the training styles",
    "emoji-style": "a drawing style never trained on",
    "emoji-crowded": "15 to 40 small objects",
    "easy-vqa": "made by others",
}
ABSENT = ("present no", "coloured no", "absent", "colour present no", "shape present no")  # the right answer is "no"
FIRST = ("emoji-test", "emoji-crowded")  # what README shows
METHODS = ("resprune", "subspace", "divprune", "cdpruner", "spare", "relevance", "lrcp", "norm", "uniform", "random")


@dataclass(frozen=True)
class Size:
    """How much is asked: pictures of each set, methods with and without mass, budgets, draws of random."""

    scenes: int
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: int
    sets: tuple[str, ...] = tuple(SETS)


def both(*methods: str) -> tuple[str, ...]:
    """Each method without mass and with it."""
    return tuple(name + mass for name in methods for mass in ("", "+mass"))


SIZES = {
    "full": Size(25, both(*METHODS), (128, 64, 32, 16, 8), 3),
    "medium": Size(25, both("resprune", "subspace", "divprune", "uniform", "random"), (64, 16), 2),
    "small": Size(2, both("resprune", "random"), (16,), 1, ("emoji-test",)),
}


def study(name: str, size: Size, out: Path) -> dict[str, Any]:
    """Run or go on with one set's study, and return its report.

    Raises:
        SystemExit: if it cannot be run; why is on standard error.
    """
    asked = ["--set", name, "--scenes", str(size.scenes), "--seeds", str(size.seeds), "--out", str(out / name)]
    kept = ",".join(map(str, size.budgets))
    if status := resprune(["evaluate", *asked, "--method", ",".join(size.methods), "--keep", kept]):
        raise SystemExit(status)
    return json.loads((out / name / "report.json").read_text(encoding="utf-8"))


def table(report: dict[str, Any]) -> str:
    """Accuracy relative to all tokens, a row a method and a column a budget; ``*`` where random is beaten or beats."""
    budgets = report["keep"]
    found = {(r["method"], r["keep"]): r for r in report["results"]}
    lines = ["| method | " + " | ".join(f"{k} tokens" for k in budgets) + " |", "|---" * (1 + len(budgets)) + "|"]
    for method in report["methods"]:
        cells = [_cell(found[method, keep]) for keep in budgets]
        lines.append(f"| {method.replace('+', ' + ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(result: dict[str, Any]) -> str:
    low, high = result["relative_interval"]
    over = result.get("over_random", {"p": 1.0, "difference": 0.0})
    mark = "" if over["p"] >= 0.05 else " *" if over["difference"] > 0 else " (below random) *"
    return f"{100 * result['relative']:.0f} % ({100 * low:.0f} to {100 * high:.0f}){mark}"


def absent(report: dict[str, Any]) -> str:
    """Accuracy on questions about what is not there, beside that on all: pruning's bias towards yes."""
    lines = ["| method | tokens | all kinds | " + " | ".join(ABSENT) + " |", "|---" * (3 + len(ABSENT)) + "|"]
    everything = [{"method": "all tokens", "keep": "576"} | report["full"], *report["results"]]
    for result in everything:
        kinds = [result["kinds"].get(kind) for kind in ABSENT]
        cells = ["" if share is None else f"{100 * share:.0f} %" for share in kinds]
        head = f"| {result['method'].replace('+', ' + ')} | {result['keep']} | {100 * result['accuracy']:.0f} % | "
        lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines)


def sections(reports: dict[str, dict[str, Any]], ran: dict[str, Any]) -> str:
    """The body of ``docs/evidence.md``."""
    first = next(iter(reports.values()))
    parts = [
        f"{first['scenes']} pictures a set, {first['seeds']} draws of random, on {ran['processor']} "
        f"({ran['date']}, torch {ran['torch']}). Accuracy relative to all tokens, with the 95 % interval of a "
        "bootstrap over pictures. `*`: different from random without mass at the same budget, p below 0.05 after "
        "Holm's correction over a set's table (sign flips of pictures)."
    ]
    for name, report in reports.items():
        full = report["full"]
        low, high = full["interval"]
        parts.append(
            f"## {name}: {SETS[name]}\n\nAll tokens: {100 * full['accuracy']:.1f} % of {full['questions']} questions "
            f"right ({100 * low:.1f} to {100 * high:.1f} %).\n\n{table(report)}\n\n"
            f"Where the right answer is that something is not there:\n\n{absent(report)}"
        )
    return "\n\n".join(parts)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full", help="how much is asked (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the studies (%(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs/evidence.md"), help="page of the tables (%(default)s)")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file of the first table (%(default)s)")
    args = parser.parse_args()
    size = SIZES[args.size]
    ran = machine(torch.device("cpu"))
    reports = {name: study(name, size, args.out / args.size) for name in size.sets}
    (args.out / args.size / "machine.json").write_text(json.dumps(ran, indent=1) + "\n", encoding="utf-8")
    insert(args.docs, "evidence", sections(reports, ran))
    first = [f"{name}, {SETS[name]}:\n\n{table(reports[name])}" for name in FIRST if name in reports]
    insert(args.readme, "evidence", "\n\n".join(first))


if __name__ == "__main__":
    main()
