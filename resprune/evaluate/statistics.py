"""What the rows of a study say: accuracies, and differences between methods with intervals that are paired.

Questions about one picture stand or fall together, so pictures are what is drawn again and what changes its sign.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from resprune.evaluate.accuracy import normalised
from resprune.evaluate.study import FULL

DRAWS = 4000  # of the bootstrap, and of the test
BASELINE = "random"
OURS = "resprune+mass"
SEED = 0


def compared(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a study.

    Args:
        rows: of :func:`resprune.evaluate.run`, one study's.

    Returns:
        ``full``: ``accuracy`` and ``interval`` of all tokens; ``results``: for each method and budget ``method``,
        ``keep``, ``seeds``, ``questions``, ``kept`` (mean), ``accuracy`` (mean over seeds), ``relative`` to full and
        ``agreement`` with its answers, each with its 95 % interval (bootstrap over pictures); ``select_ms`` and
        ``prefill_ms`` (medians); ``kinds``, the accuracy of each; and ``over_random``, the difference to random at the
        same budget with its interval and ``p`` (sign flips of pictures, two-sided, Holm's correction over the methods
        at that budget), where random was asked; and ``ours_over``, the difference of :data:`OURS` to it, likewise,
        where that was asked.
        Accuracies are shares of questions.
    """
    table = _Table(list(rows))
    results = [table.result(name, keep) for name, keep in table.groups if name != FULL]
    for test in ("over_random", "ours_over"):
        for keep in dict.fromkeys(result["keep"] for result in results):
            _hold([result[test] for result in results if result["keep"] == keep and test in result])
    full = table.result(FULL, "None")
    return {"full": {name: full[name] for name in ("accuracy", "interval", "questions", "kinds")}, "results": results}


class _Table:
    """Rows by method and budget, and the pictures drawn again, the same for all."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            self.groups[row["method"], row["keep"]].append(row)
        self.said = {r["question"]: normalised(r["answer"]) for r in self.groups[FULL, "None"]}
        self.scene = {r["question"]: r["scene"] for r in self.groups[FULL, "None"]}
        self.kind = {r["question"]: r["kind"] for r in self.groups[FULL, "None"]}
        scenes = sorted(set(self.scene.values()))
        self.place = {scene: i for i, scene in enumerate(scenes)}
        rng = np.random.default_rng(SEED)
        self.draws = rng.multinomial(len(scenes), [1 / len(scenes)] * len(scenes), DRAWS)  # [DRAWS, scenes]
        self.signs = rng.choice([-1, 1], (DRAWS, len(scenes)))
        self.full = self.means(self.groups[FULL, "None"], "right")

    def means(self, rows: list[dict[str, Any]], what: str) -> dict[int, float]:
        """Of each question, the mean over seeds."""
        found: dict[int, list[float]] = defaultdict(list)
        for row in rows:
            value = row["right"] if what == "right" else normalised(row["answer"]) == self.said[row["question"]]
            found[row["question"]].append(float(value))
        return {question: float(np.mean(values)) for question, values in found.items()}

    def by_scene(self, values: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the values and numbers of questions, ``[scenes]`` each."""
        sums, counts = np.zeros(len(self.place)), np.zeros(len(self.place))
        for question, value in values.items():
            sums[self.place[self.scene[question]]] += value
            counts[self.place[self.scene[question]]] += 1
        return sums, counts

    def share(self, values: dict[int, float], over: dict[int, float] | None = None) -> tuple[float, list[float]]:
        """Mean, or ratio of two means, with its interval."""
        sums, counts = self.by_scene(values)
        below = counts if over is None else self.by_scene(over)[0]
        drawn = (self.draws @ sums) / np.maximum(self.draws @ below, 1e-9)
        return _rounded(sums.sum() / max(below.sum(), 1e-9)), _interval(drawn)

    def result(self, name: str, keep: str) -> dict[str, Any]:
        rows = self.groups[name, keep]
        right = self.means(rows, "right")
        accuracy, interval = self.share(right)
        relative, relative_interval = self.share(right, {q: self.full[q] for q in right})
        agreement, agreement_interval = self.share(self.means(rows, "agreement"))
        kinds: dict[str, list[float]] = defaultdict(list)
        for question, value in right.items():
            kinds[self.kind[question]].append(value)
        found = {
            "method": name,
            "keep": keep,
            "seeds": len({row["seed"] for row in rows}),
            "questions": len(right),
            "kept": _rounded(float(np.mean([row["kept"] for row in rows]))),
            "accuracy": accuracy,
            "interval": interval,
            "relative": relative,
            "relative_interval": relative_interval,
            "agreement": agreement,
            "agreement_interval": agreement_interval,
            "select_ms": _rounded(float(np.median([row["select_ms"] for row in rows]))),
            "prefill_ms": _rounded(float(np.median([row["prefill_ms"] for row in rows]))),
            "kinds": {kind: _rounded(float(np.mean(values))) for kind, values in sorted(kinds.items())},
        }
        if name not in (FULL, BASELINE) and (BASELINE, keep) in self.groups:
            found["over_random"] = self.difference(right, self.means(self.groups[BASELINE, keep], "right"))
        if name not in (FULL, OURS) and (OURS, keep) in self.groups:
            found["ours_over"] = self.difference(self.means(self.groups[OURS, keep], "right"), right)
        return found

    def difference(self, one: dict[int, float], other: dict[int, float]) -> dict[str, Any]:
        """Mean difference on the questions of both, its interval, and how often chance gives as much."""
        both = {question: one[question] - other[question] for question in one if question in other}
        mean, interval = self.share(both)
        sums, _ = self.by_scene(both)
        chance = np.abs(self.signs @ sums) >= abs(sums.sum()) - 1e-9
        return {"difference": mean, "interval": interval, "p": float((1 + chance.sum()) / (1 + DRAWS))}


def _hold(tests: list[dict[str, Any]]) -> None:
    """Correct the p values for their number (Holm, 1979)."""
    least = 0.0
    for rank, test in enumerate(sorted(tests, key=lambda test: test["p"])):
        least = max(least, min(1.0, (len(tests) - rank) * test["p"]))
        test["p"] = _rounded(least)


def _interval(drawn: np.ndarray) -> list[float]:
    return [_rounded(float(value)) for value in np.quantile(drawn, [0.025, 0.975])]


def _rounded(value: float) -> float:
    return round(float(value), 4)
