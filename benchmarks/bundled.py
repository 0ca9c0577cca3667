"""Does pruning pay on the bundled model? Selection and pruned prefill against full prefill, paired in one process.

    python benchmarks/bundled.py [--json]

Each round answers the same question about one picture with all visual tokens and with a quarter of them, in alternating
order, after a warm-up of both. Nothing else should run on the machine. The answer has a fixed length, so that a shorter
one is not taken for a faster one.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator

import torch

from resprune.compare import Answer, answer
from resprune.device import processor_name
from resprune.images import open_image
from resprune.models import assets_dir, load
from resprune.settings import Settings

KEEP = 0.25
NEW_TOKENS = 4
QUESTION = "What animal is in the picture?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    model, processor = load("bundled")
    model.generation_config.eos_token_id = None  # fixed length
    image = open_image(sorted((assets_dir() / "examples").glob("*.png"))[0])
    sides = {"full": None, "pruned": Settings(keep=KEEP)}
    figures: dict[str, list[float]] = {}
    for round_ in range(-1, options.rounds):  # the first is a warm-up
        order = list(sides) if round_ % 2 else list(reversed(sides))
        answers = {side: _ask(model, processor, image, sides[side]) for side in order}
        for name, value in _figures(**answers):
            if round_ >= 0:
                figures.setdefault(name, []).append(value)

    rows = {name: {"median": statistics.median(v), "min": min(v), "max": max(v)} for name, v in figures.items()}
    if options.json:
        where = {"machine": processor_name(), "threads": torch.get_num_threads()}
        settings = {"rounds": options.rounds, "keep": KEEP, "dtype": str(model.dtype), "device": str(model.device)}
        print(json.dumps(where | settings | {"figures": rows}))
        return
    print(
        f"{options.rounds} rounds, {torch.get_num_threads()} threads, {model.dtype} on {model.device}; median (range)"
    )
    for name, row in rows.items():
        print(f"{name:32} {row['median']:8.2f}  ({row['min']:.2f} to {row['max']:.2f})")


def _ask(model, processor, image, settings: Settings | None) -> Answer:
    updates = answer(model, processor, image, QUESTION, settings, max_new_tokens=NEW_TOKENS)
    return next(update.answer for update in updates if update.answer)


def _figures(full: Answer, pruned: Answer) -> Iterator[tuple[str, float]]:
    """Milliseconds, and ratios of one round, above 1 where pruning is faster."""
    yield "encode, ms", full.encode_ms
    yield "full prefill, ms", full.prefill_ms
    yield "selection, ms", pruned.select_ms
    yield "pruned prefill, ms", pruned.prefill_ms
    yield "selection + pruned prefill, ms", pruned.select_ms + pruned.prefill_ms
    yield "prefill ratio, selection counted", full.prefill_ms / (pruned.select_ms + pruned.prefill_ms)
    # All that follows encoding until the first token, with whatever no stage accounts for.
    yield "full TTFT, ms", full.ttft_ms
    yield "pruned TTFT, ms", pruned.ttft_ms
    yield "TTFT ratio", full.ttft_ms / pruned.ttft_ms


if __name__ == "__main__":
    sys.exit(main())
