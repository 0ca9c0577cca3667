"""What the reports of studies say, as tables of Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from resprune.evaluate import OURS

SETS = {
    "emoji-test": "new scenes in the training styles",
    "emoji-style": "a drawing style never trained on",
    "emoji-crowded": "15 to 40 small objects",
    "easy-vqa": "made by others",
}
VALIDATION = {"emoji-validation": "like emoji-test", "crowded-validation": "like emoji-crowded"}
ABSENT = ("present no", "coloured no", "absent", "colour present no", "shape present no")  # the right answer is "no"
SHOWN = ("resprune+mass", "resprune", "paper", "divprune+mass", "divprune", "cdpruner", "uniform", "random")
README = ("resprune+mass", "resprune", "paper", "divprune", "cdpruner", "uniform", "random")
README_BUDGETS = ("128", "64", "16")


def table(report: dict[str, Any], methods: Sequence[str] = ()) -> str:
    """Accuracy relative to all tokens, a row a method and a column a budget; ``*`` where random is beaten or beats."""
    return _grid(report, methods or report["methods"], _relative)


def first_table(reports: dict[str, dict[str, Any]]) -> str:
    """The small table of README: a few methods at a few budgets on several sets, cells as in :func:`table`."""
    columns = [(name, keep) for name, report in reports.items() for keep in README_BUDGETS if keep in report["keep"]]
    found = {name: {(r["method"], r["keep"]): r for r in report["results"]} for name, report in reports.items()}
    named = dict(reversed(columns))  # the first column of each set carries its name
    heads = [f"{name}, {keep} tokens" if named[name] == keep else keep for name, keep in columns]
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (1 + len(columns)) + "|"]
    for method in README:
        if all((method, keep) in found[name] for name, keep in columns):
            cells = [_short(found[name][method, keep]) for name, keep in columns]
            lines.append(f"| {_shown(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(result: dict[str, Any]) -> str:
    low, high = result["relative_interval"]
    mark = "*" if result.get("over_random", {"p": 1.0})["p"] < 0.05 else ""
    return f"{100 * result['relative']:.0f}{mark} ({100 * low:.0f} to {100 * high:.0f})"


def against_ours(report: dict[str, Any]) -> str:
    """By how many points :data:`OURS` is ahead of each method; ``*`` where the difference is more than chance."""
    return _grid(report, [name for name in report["methods"] if name != OURS], _lead)


def _grid(report: dict[str, Any], methods: Sequence[str], cell: Callable[[dict[str, Any]], str]) -> str:
    budgets, found = report["keep"], {(r["method"], r["keep"]): r for r in report["results"]}
    lines = ["| method | " + " | ".join(f"{k} tokens" for k in budgets) + " |", "|---" * (1 + len(budgets)) + "|"]
    for method in methods:
        cells = [cell(found[method, keep]) for keep in budgets]
        lines.append(f"| {_shown(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(method: str) -> str:
    return method.replace("+", " + ").replace(":", ", ").replace("=", " ")


def _relative(result: dict[str, Any]) -> str:
    low, high = result["relative_interval"]
    over = result.get("over_random", {"p": 1.0, "difference": 0.0})
    mark = "" if over["p"] >= 0.05 else " *" if over["difference"] > 0 else " (below random) *"
    return f"{100 * result['relative']:.0f} % ({100 * low:.0f} to {100 * high:.0f}){mark}"


def _lead(result: dict[str, Any]) -> str:
    over = result["ours_over"]
    low, high = over["interval"]
    return f"{100 * over['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){' *' if over['p'] < 0.05 else ''}"


def absent(report: dict[str, Any], methods: Sequence[str] = ()) -> str:
    """Accuracy on questions about what is not there, beside that on all: pruning's bias towards yes."""
    return _by_kind(report, methods or report["methods"], ABSENT)


def kinds(report: dict[str, Any], method: str) -> str:
    """Accuracy on each kind of question, from that of all tokens down to the smallest budget."""
    return _by_kind(report, [method], tuple(report["full"]["kinds"]), turned=True)


def _by_kind(report: dict[str, Any], methods: Sequence[str], asked: Sequence[str], turned: bool = False) -> str:
    rows = [("all tokens", "576", report["full"])]
    rows += [(_shown(r["method"]), r["keep"], r) for r in report["results"] if r["method"] in methods]
    asked = [kind for kind in asked if kind in report["full"]["kinds"]]
    lines = [["method", *(method for method, _, _ in rows)], ["tokens", *(keep for _, keep, _ in rows)]]
    lines += [[kind, *(_percent(r["kinds"].get(kind)) for _, _, r in rows)] for kind in asked]
    lines.insert(2, ["all kinds", *(_percent(r["accuracy"]) for _, _, r in rows)])
    lines = lines[1:] if turned else [list(line) for line in zip(*lines, strict=True)]
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def costs(report: dict[str, Any]) -> str:
    """What each method keeps and what its choice takes, at the largest and the smallest budget."""
    lines = ["| method | tokens | read, mean over layers | choice, ms | prefill, ms |", "|---|---|---|---|---|"]
    for result in report["results"]:
        if result["keep"] in (report["keep"][0], report["keep"][-1]) and "+" not in result["method"]:
            ms = f"{result['select_ms']:.1f} | {result['prefill_ms']:.1f}"
            lines.append(f"| {result['method']} | {result['keep']} | {result['kept']:.0f} | {ms} |")
    return "\n".join(lines)


def sections(reports: dict[str, dict[str, Any]], ran: dict[str, Any]) -> str:
    """The tables of ``docs/evidence.md``."""
    first = next(iter(reports.values()))
    parts = [
        f"{first['scenes']} pictures a set, {first['seeds']} draws of random, on {ran['processor']} "
        f"({ran['date']}, torch {ran['torch']}). Accuracy relative to all tokens, with the 95 % interval of a "
        "bootstrap over pictures. `*`: different from random without mass at the same budget, p below 0.05 after "
        "Holm's correction over a set's methods at that budget (sign flips of pictures)."
    ]
    for name, report in reports.items():
        full = report["full"]
        low, high = full["interval"]
        parts += [
            f"## {name}: {(SETS | VALIDATION)[name]}",
            f"All tokens: {100 * full['accuracy']:.1f} % of {full['questions']} questions "
            f"right ({100 * low:.1f} to {100 * high:.1f} %).",
            table(report),
        ]
        if OURS in report["methods"]:
            shown = [name for name in SHOWN if name in report["methods"]]
            parts += [
                f"Points by which {_shown(OURS)} is ahead of each, paired, with 95 % intervals; `*`: p below 0.05 "
                "after Holm's correction over each column:",
                against_ours(report),
                "Where the right answer is that something is not there:",
                absent(report, shown),
                f"By kind of question, {_shown(OURS)}:",
                kinds(report, OURS),
            ]
    return "\n\n".join(parts)
