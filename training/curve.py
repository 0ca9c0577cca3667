"""Draw the training's log as a picture: ``python -m training.curve``."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def points(log: Path) -> dict[str, list[tuple[float, float, str]]]:
    """``(minutes, value, stage)`` of each quantity that the log tells, over all stages and interruptions."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    before, last, stage = 0.0, 0.0, ""
    for line in map(json.loads, log.read_text().splitlines()):
        if line["stage"] != stage or line["seconds"] < last:
            before, stage = before + last, line["stage"]
        last = line["seconds"]
        for name in ("answer_loss", "patch_loss", "patches", "auc", "right"):
            if name in line:
                found.setdefault(name, []).append(((before + last) / 60, line[name], stage))
    return found


def draw(log: Path, picture: Path) -> None:
    """Losses above, shares of what is right below, stages as bands."""
    found = points(log)
    figure, (losses, shares) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, constrained_layout=True)
    names = {
        "patch_loss": "loss of naming patches",
        "answer_loss": "loss of answers",
        "patches": "patches of objects named right",
        "auc": "AUC of relevance for the named object",
        "right": "answers right, all kinds",
    }
    for name, label in names.items():
        axes = losses if name.endswith("loss") else shares
        minutes, values, _ = zip(*found.get(name, [(0.0, float("nan"), "")]), strict=True)
        axes.plot(minutes, values, marker="." if axes is shares else "", label=label)
    starts: dict[str, float] = {}
    for minutes, _, stage in found["patch_loss"]:
        starts.setdefault(stage, minutes)
    for axes in (losses, shares):
        for stage, minutes in starts.items():
            axes.axvline(minutes, color="0.8", zorder=0)
            if axes is losses:
                axes.annotate(
                    stage, (minutes, 1), xycoords=("data", "axes fraction"), fontsize=8, va="bottom", rotation=25
                )
        axes.legend(fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    losses.set(yscale="log", ylabel="nats")
    shares.set(xlabel="minutes of training", ylim=(0, 1.02))
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, default=Path("training/log.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("training/curve.png"))
    args = parser.parse_args()
    draw(args.log, args.out)


if __name__ == "__main__":
    main()
