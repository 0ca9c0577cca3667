"""One model at one size of a batch, asked in every way in turn: the raw times of each."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from benchmarks.calls import Clock, Variant, first_token, parts, peak_bytes, waits
from benchmarks.deadline import Deadline
from benchmarks.true_size import Sizes, ask_about
from resprune import encode

EVERY = 2  # the parts of a call are measured in each second round: they change less than the whole


def variants_of(budgets: Sequence[int | float]) -> list[Variant]:
    """The plain model, and each budget without mass and with it."""
    return [Variant(), *(Variant(keep, mass) for keep in budgets for mass in (False, True))]


def encoded(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """``inputs`` with what the encoder makes of the pictures in their place."""
    rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
    return rest | {"mm_encoder_outputs": {"image": encode(model, inputs)}}


def cell(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    sizes: Sizes,
    batch: int,
    rounds: int,
    tokens: int,
    clock: Clock,
    share: Deadline,
) -> dict[str, Any]:
    """One model at one size of a batch: raw times of each variant, until all rounds are done or its share of time is.

    The first round warms up; one is measured in any case. Answers have ``tokens`` tokens where steps are measured.
    """
    inputs = ask_about(sizes, processor, batch, clock.device, model.dtype)
    known = encoded(model, inputs)
    variants, drawn = variants_of(sizes.budgets), random.Random(0)
    rows: dict[str, dict[str, Any]] = {variant.name: {"kept": sizes.tokens} for variant in variants}
    encoding: list[float] = []
    for round_ in range(-1, rounds):
        if round_ > 0 and share.left() < 0:
            break
        start = clock()
        encode(model, inputs)
        if round_ >= 0:
            encoding.append(clock() - start)
        for variant in drawn.sample(variants, len(variants)):
            row = rows[variant.name]
            with variant.on(model, processor):
                taken = first_token(model, inputs, clock)
                if variant.keep is not None:
                    row["kept"] = model.resprune.last[0].tokens_kept
                if round_ < 0 or round_ % EVERY == 0:
                    taken |= parts(model, known, tokens, clock)
                    row["kv_bytes"] = taken.pop("kv_bytes")
            if round_ >= 0:
                for name, ms in taken.items():
                    row.setdefault(name, []).append(ms)
    for variant in variants:
        with variant.on(model, processor):
            rows[variant.name] |= {"peak_bytes": peak_bytes(model, inputs), "waits": waits(model, inputs)}
    return {"prompt": inputs["input_ids"].shape[1], "encode": encoding, "variants": rows}
