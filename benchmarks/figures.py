"""Pictures of a study: how accuracy falls with the budget, and scenes that pruning gets wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from resprune.attachment import pruned
from resprune.evaluate import SETS, Example
from resprune.models import load
from resprune.question import build_inputs
from resprune.settings import Settings

COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#000000", "#999999")  # Okabe and Ito's
FULL = 100  # per cent
FAILURES = 6


def curves(reports: dict[str, dict[str, Any]], methods: Sequence[str], file: Path) -> None:
    """Accuracy relative to all tokens against the budget, a panel a set, with bands of the 95 % intervals."""
    figure, panels = plt.subplots(
        1, len(reports), figsize=(4.2 * len(reports), 4), sharey=True, constrained_layout=True
    )
    for axes, (name, report) in zip(np.atleast_1d(panels), reports.items(), strict=True):
        budgets = [int(keep) for keep in report["keep"]]
        found = {(r["method"], r["keep"]): r for r in report["results"]}
        for method, colour in zip(methods, COLOURS, strict=False):
            results = [found[method, str(k)] for k in budgets]
            low, high = np.array([r["relative_interval"] for r in results]).T * FULL
            relative = [FULL * r["relative"] for r in results]
            style = "-" if method.endswith("+mass") else "--"
            axes.plot(budgets, relative, style, marker=".", color=colour, label=method.replace("+", " + "))
            axes.fill_between(budgets, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.axhline(FULL, color="0.7", linewidth=0.8, zorder=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(budgets, [str(k) for k in budgets])
        axes.set(title=name, xlabel="visual tokens kept of 576")
        axes.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(panels)[0].set_ylabel("right answers, % of those with all tokens")
    np.atleast_1d(panels)[-1].legend(fontsize=8, loc="lower right")
    _save(figure, file)


def failures(study: Path, method: str, keep: int, file: Path) -> list[str]:
    """The first scenes, each of another kind of question, that all tokens get right and ``keep`` of them wrong.

    Each is drawn with its kept patches bright.

    Returns:
        For each a sentence: what was asked, what all tokens answered, and what the kept ones did.
    """
    plan = json.loads((study / "study.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (study / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    full = {row["question"]: row for row in rows if row["method"] == "full"}
    wrong: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["question"]):
        if (row["method"], row["keep"]) == (method, str(keep)) and full[row["question"]]["right"] and not row["right"]:
            wrong.setdefault(row["kind"], row)
    chosen = list(wrong.values())[:FAILURES]
    examples = list(SETS[plan["set"]](plan["scenes"]))
    model, processor = load(plan["model"])
    across = min(3, max(1, len(chosen)))
    figure, panels = plt.subplots(-(-len(chosen) // across) or 1, across, figsize=(4 * across, 9), squeeze=False)
    told = []
    for axes in panels.flat:
        axes.axis("off")
    for axes, row in zip(panels.flat, chosen, strict=False):
        example = examples[row["question"]]
        kept = _kept(model, processor, example, Settings(keep, method))
        axes.imshow(_dimmed(np.asarray(example.image), kept))
        said = [f"{example.question}", f"all: {full[row['question']]['answer']}", f"{keep} tokens: {row['answer']}"]
        axes.set_title("\n".join(said), fontsize=8, loc="left", wrap=True)
        told.append(f"{row['kind']}: {example.question} All: {said[1][5:]} Pruned: {row['answer']}")
    _save(figure, file)
    return told


@torch.no_grad()
def _kept(model: Any, processor: Any, example: Example, settings: Settings) -> list[tuple[int, int, int]]:
    inputs = build_inputs(processor, example.image, example.question).to(model.device, dtype=model.dtype)
    with pruned(model, processor, **vars(settings)):
        model.generate(**inputs, max_new_tokens=1)
        return model.resprune.last[0].kept


def _dimmed(pixels: np.ndarray, kept: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """``[H, W, 3]`` uint8 with all but the kept of 24 x 24 patches faded."""
    height, width = (size // 24 for size in pixels.shape[:2])
    bright = np.zeros((24, 24), bool)
    for _, row, col in kept:
        bright[row, col] = True
    shown = np.kron(bright, np.ones((height, width)))[..., None] > 0
    return np.where(shown, pixels, (0.25 * pixels + 0.75 * 235).astype(np.uint8))


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90, bbox_inches="tight")
    plt.close(figure)
