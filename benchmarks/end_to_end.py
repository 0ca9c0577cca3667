"""Does pruning bring the first token sooner? Whole calls of ``generate`` at the true size of 7B models, side by side.

    python -m benchmarks.end_to_end [--out FILE.json] [--layers N] [--models NAME ...] [--batch 1 8] [--rounds N]
                                    [--minutes M] [--cpu-time] [--commit NAME]

LLaVA-1.5, LLaVA-NeXT and Qwen2.5-VL with random weights and real processors, asked in full and at the paper's budgets,
with mass and without, in an order drawn anew each round. Then the choice of tokens alone against CDPruner's and
DivPrune's, and the same calls with the decoder compiled. What the minutes do not suffice for is named as skipped; what
was measured until then is written. Nothing else should run on the machine; where something must, OMP_NUM_THREADS=1
with --cpu-time measures what the processor worked, which others hardly stretch.
"""

import argparse
import contextlib
import gc
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from benchmarks import choices, compiled
from benchmarks.calls import Clock, Variant
from benchmarks.cells import cell, encoded
from benchmarks.deadline import Deadline
from benchmarks.machine import commit, machine, write
from benchmarks.speed import tables
from benchmarks.true_size import MODELS, Sizes, ask_about, build
from resprune.device import default_dtype, free_bytes

ROOM = 0.7  # share of the free memory that the weights may take
LEAST = 8.0  # seconds in which a card builds a model and asks it once
ON_A_CARD = {"minutes": 4.5, "rounds": 9, "batch": [1, 8], "tokens": 9}
ON_A_PROCESSOR = {"minutes": 10.0, "rounds": 3, "batch": [1], "tokens": 3}


def layers_that_fit(sizes: Sizes, device: torch.device, dtype: torch.dtype, wanted: int | None) -> int:
    """As many of the language model's as are wanted, or all, as far as memory allows."""
    text = sizes.text
    width, groups = text["hidden_size"], text["num_key_value_heads"] / text["num_attention_heads"]
    one = (3 * text["intermediate_size"] + 2 * width + 2 * width * groups) * width * dtype.itemsize
    return max(1, min(wanted or sizes.text_layers, sizes.text_layers, int(ROOM * free_bytes(device) / one)))


@contextlib.contextmanager
def built(
    name: str, layers: int | None, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[PreTrainedModel, ProcessorMixin, Sizes]]:
    """A model as deep as memory allows, for the length of a ``with`` block."""
    sizes = MODELS[name].shallow(layers_that_fit(MODELS[name], device, dtype, layers))
    yield *build(sizes, device, dtype), sizes
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def told(report: dict[str, Any], what: str) -> Iterator[None]:
    """An error inside the ``with`` block goes into the report, so that the rest is measured all the same."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        report["failed"][what] = compiled.first_line(error)


def whole_calls(report: dict[str, Any], options: argparse.Namespace, clock: Clock, dtype: torch.dtype) -> Iterator[str]:
    """Fill the report's ``models`` and ``skipped``, and tell of each part that is done."""
    deadline: Deadline = options.deadline
    waiting = [(name, batch) for name in options.models for batch in options.batch]
    for name in options.models:
        mine = [batch for other, batch in waiting if other == name]
        if deadline.left() < LEAST:
            report["skipped"] |= {f"{name}, batch {batch}": deadline.said(LEAST) for batch in mine}
            continue
        with built(name, options.layers, clock.device, dtype) as (model, processor, sizes):
            for batch in mine:
                share = Deadline.after(
                    max(LEAST, (deadline.left() - compiled.reserved(clock.device)) / len(waiting)) / 60
                )
                waiting.remove((name, batch))
                what = f"{name}, batch {batch}"
                if deadline.left() < LEAST:
                    report["skipped"][what] = deadline.said(LEAST)
                    continue
                depth = {"layers": sizes.text_layers, "true_layers": MODELS[name].text_layers}
                known = {"model": name, "batch": batch, "tokens": sizes.tokens, **depth}
                with told(report, what):
                    one = cell(model, processor, sizes, batch, options.rounds, options.tokens, clock, share)
                    report["models"].append(known | one)
                yield what
            del model


def decoder_compiled(
    report: dict[str, Any], options: argparse.Namespace, clock: Clock, dtype: torch.dtype
) -> Iterator[str]:
    """Fill the report's ``compiled``: the first model, plain and at its middle budget, pictures encoded before."""
    name, deadline = options.models[0], options.deadline
    if deadline.left() < LEAST:
        report["skipped"][f"{name}, compiled"] = deadline.said(LEAST)
        return
    layers = min(options.layers or compiled.LAYERS, compiled.LAYERS)
    with built(name, layers, clock.device, dtype) as (model, processor, sizes):
        inputs = encoded(model, ask_about(sizes, processor, 1, clock.device, dtype))
        middle = sizes.budgets[len(sizes.budgets) // 2]
        variants = [Variant(), Variant(middle), Variant(middle, True)]
        known = {"layers": sizes.text_layers, "true_layers": MODELS[name].text_layers, "ways": {}}
        report["compiled"][name] = known
        for way in compiled.SECONDS:
            known["ways"][way] = compiled.measure(
                way, model, processor, inputs, variants, options.rounds, clock, deadline
            )
            yield f"{name}, {way}"


def run(options: argparse.Namespace, device: torch.device, done: Callable[[dict[str, Any], str], None]) -> dict:
    """The whole report; ``done`` is told of each part, with what there is until then."""
    clock, dtype = Clock(device, options.cpu_time), default_dtype(device)
    options.deadline = Deadline.after(options.minutes)
    report: dict[str, Any] = machine(device) | {
        "commit": options.commit or commit(),
        "dtype": str(dtype).removeprefix("torch."),
        "clock": "processor time" if options.cpu_time else "wall time",
        "choices": {},
        "models": [],
        "compiled": {},
        "skipped": {},
        "failed": {},
    }
    for tokens, dims, k in choices.CASES:
        what = f"{tokens} x {dims}, {k}"
        with told(report, what):
            report["choices"][what] = choices.measure(tokens, dims, k, device, dtype, options.rounds, clock)
        done(report, what)
    for what in whole_calls(report, options, clock, dtype):
        done(report, what)
    for what in decoder_compiled(report, options, clock, dtype):
        done(report, what)
    done(report, "all")
    return report


def main() -> int:
    """Measure, write JSON, print tables; 1 where a part failed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    defaults = ON_A_CARD if device.type == "cuda" else ON_A_PROCESSOR
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write all figures there as JSON, after each part")
    parser.add_argument("--layers", type=int, help="of the language model; as many as memory allows where not given")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batch", nargs="+", type=int, default=defaults["batch"], help="pictures a call")
    parser.add_argument("--rounds", type=int, default=defaults["rounds"], help="at most (%(default)s)")
    parser.add_argument("--minutes", type=float, default=defaults["minutes"], help="in all, about (%(default)s)")
    parser.add_argument("--tokens", type=int, default=defaults["tokens"], help="of an answer, for TPOT (%(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="of the process, on the CPU with one thread")
    parser.add_argument("--commit", help="what is measured, where git cannot tell")
    options = parser.parse_args()
    if options.cpu_time and device.type != "cpu":
        parser.error("--cpu-time says nothing of what an accelerator works.")
    if options.tokens < 2:
        parser.error("--tokens must be 2 at least: the first is not decoded.")

    def done(report: dict[str, Any], what: str) -> None:
        print(f"{what}: {options.minutes * 60 - options.deadline.left():.0f} s", file=sys.stderr, flush=True)
        if options.out:
            write(options.out, report)

    report = run(options, device, done)
    print(tables(report))
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
