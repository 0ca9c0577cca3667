"""Plain against attached where the decoder is compiled: by ``torch.compile``, or as transformers does it by itself.

With a static cache transformers compiles the steps of decoding, on accelerators alone. A few layers do: compiling all
of them takes minutes. A way or a budget that does not work is a row that says why.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from benchmarks.calls import GREEDY, Clock, Variant
from benchmarks.deadline import Deadline

LAYERS = 4
TOKENS = 9
WARM_UPS = 2
SECONDS = {"torch.compile": 40.0, "static cache": 40.0}  # what each way may take on a card, at most about
ON_A_PROCESSOR = 240.0  # two cores and their compiler of C++


def reserved(device: torch.device) -> float:
    """Seconds to keep for compiling on ``device``."""
    return sum(SECONDS.values()) if device.type != "cpu" else 0.0


def needed(way: str, device: torch.device) -> float:
    """Seconds without which a way is not tried: what has begun to compile cannot be stopped."""
    return SECONDS[way] if device.type != "cpu" else ON_A_PROCESSOR


@contextlib.contextmanager
def compiled(model: PreTrainedModel, way: str) -> Iterator[dict[str, Any]]:
    """Arguments of ``generate`` with which ``model`` runs compiled, for the length of a ``with`` block."""
    decoder = model.get_decoder()
    torch.compiler.reset()
    try:
        if way == "torch.compile":
            decoder.compile(dynamic=True)  # else each length is compiled, and then all of them once more
        yield {"cache_implementation": "static"} if way == "static cache" else {}
    finally:
        decoder._compiled_call_impl = None  # as in a module that was never compiled; PyTorch offers no other way
        torch.compiler.reset()


def asked(model: PreTrainedModel, inputs: Mapping[str, Any], options: Mapping[str, Any], clock: Clock) -> dict:
    """TTFT and TPOT, both from whole calls: hooks would be compiled too."""
    taken = []
    for tokens in (1, TOKENS):
        start = clock()
        model.generate(**inputs, **GREEDY, **options, max_new_tokens=tokens)
        taken.append(clock() - start)
    return {"ttft": taken[0], "tpot": (taken[1] - taken[0]) / (TOKENS - 1)}


def measure(
    way: str,
    model: PreTrainedModel,
    processor: ProcessorMixin,
    inputs: Mapping[str, Any],
    variants: Sequence[Variant],
    rounds: int,
    clock: Clock,
    deadline: Deadline,
) -> dict[str, dict[str, Any]]:
    """Of each variant, by its name: lists of milliseconds, a value a round, or why there are none."""
    if way == "static cache" and clock.device.type == "cpu":
        return {"all": {"skipped": "transformers compiles on accelerators only"}}
    if deadline.left() < needed(way, clock.device):
        return {"all": {"skipped": deadline.said(needed(way, clock.device))}}
    rows: dict[str, dict[str, Any]] = {variant.name: {"ttft": [], "tpot": []} for variant in variants}
    with compiled(model, way) as options:
        for round_ in range(-WARM_UPS, rounds):
            if round_ > 0 and deadline.left() < 0:
                break
            for variant in variants if round_ % 2 else reversed(variants):
                row = rows[variant.name]
                if "error" in row:
                    continue
                try:
                    with variant.on(model, processor):
                        taken = asked(model, inputs, options, clock)
                except Exception as error:  # whatever it is, it is what whoever compiles would see
                    rows[variant.name] = {"error": first_line(error)}
                    continue
                if round_ >= 0:
                    for name, ms in taken.items():
                        row[name].append(ms)
    return rows


def first_line(error: BaseException) -> str:
    """An error's kind and the first line that it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__
