"""The library's own work on the host for one call of ``generate``: ``python -m benchmarks.overhead [--rounds 30]``.

Processor time of an attached model's call whose plain ``generate`` does nothing, less that of the choice, timed by
itself on the same features: what then remains is everything else of ours. The bundled model, one picture of 576 tokens
encoded before, 128 kept, without mass, one thread, since one that waits for another counts as working; calls that read
the tagger do not count. The goal is 2 ms.
"""

import argparse
import contextlib
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image

from resprune import build_inputs, encode, greedy_subspace, pruned
from resprune.models import assets_dir, load

KEEP = 128
QUESTION = "What animal is in the picture?"
GOAL_MS = 2.0


@contextlib.contextmanager
def idle(kind: type) -> Iterator[None]:
    """Models of a class answer one token without any work, for the length of a ``with`` block."""
    plain = kind.generate

    @functools.wraps(plain)  # its signature, by which arguments are told apart
    def generate(self: Any, **call: Any) -> torch.Tensor:
        return torch.nn.functional.pad(call["input_ids"], (0, 1))

    kind.generate = generate
    try:
        yield
    finally:
        kind.generate = plain


def processor_ms(work: Callable[[], object]) -> float:
    """Milliseconds that all threads of this process worked."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds a round: the choice, and what is ours beyond it."""
    model, processor = load("bundled", device="cpu")
    image = Image.open(sorted((assets_dir() / "examples").glob("*.png"))[0]).convert("RGB")
    inputs = build_inputs(processor, image, QUESTION).to(model.device, dtype=model.dtype)
    features = encode(model, inputs)
    call = {name: value for name, value in inputs.items() if name != "pixel_values"}
    call["mm_encoder_outputs"] = {"image": features}
    tokens = features.pooler_output[0].flatten(0, -2)
    weights = torch.rand(len(tokens), generator=torch.Generator().manual_seed(0)).clamp_min(1e-6)
    times: dict[str, list[float]] = {"choice": [], "own work": []}
    with idle(type(model)), pruned(model, processor, keep=KEEP):
        for round_ in range(-3, rounds):
            choice = processor_ms(lambda: greedy_subspace(tokens, KEEP, weights).indices)
            whole = processor_ms(lambda: model.generate(**call, max_new_tokens=1))
            if model.resprune.last[0].tokens_kept != KEEP:
                sys.exit("The call was not pruned, so that nothing of ours was measured.")
            if round_ >= 0:
                times["choice"].append(choice)
                times["own work"].append(whole - choice)
    return times


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="(%(default)s)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    times = measure(rounds)
    print(f"576 tokens, {KEEP} kept, one thread; median processor ms (range)")
    for name, ms in times.items():
        goal = f"; the goal is {GOAL_MS:g}" if name == "own work" else ""
        print(f"{name:16} {statistics.median(ms):6.2f}  ({min(ms):.2f} to {max(ms):.2f}){goal}")


if __name__ == "__main__":
    main()
