"""One layer's attention with mass, by every route to it: which is cheapest on this machine?

    python -m benchmarks.attention [--device cuda] [--rounds 30] [--cases NAME ...] [--out FILE.json]

Queries, keys and values lie as a decoder leaves them. For each shape, the milliseconds of one attention, median with
least and most of alternating rounds, and how far the answer is from that in float64. On CUDA "host" is what launching
takes, which bounds a small prefill, "first" is the first call at a length not seen before, as each step of decoding is,
and the kernels are those that the profiler saw. Without a card there is only the first figure, of the processor's time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import machine, write
from benchmarks.routes import Case, routes
from resprune.device import default_dtype

REPEATS = 10  # of one measurement
# Query heads, key heads, columns of the pruned prompt.
CASES = {"LLaVA-1.5-7B": (32, 32, 190), "LLaVA-NeXT-7B": (32, 8, 700), "Qwen2.5-VL-7B": (28, 4, 340)}
BATCHES = (1, 8)


def clocks(device: torch.device, work: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of one call: until it is done (on a CPU, of the processor), and until the host goes on."""
    if device.type != "cuda":
        start = time.process_time()
        for _ in range(REPEATS):
            work()
        spent = (time.process_time() - start) * 1e3 / REPEATS
        return spent, spent
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(REPEATS):
        work()
    launched = time.perf_counter()
    torch.cuda.synchronize(device)
    return tuple((end - start) * 1e3 / REPEATS for end in (time.perf_counter(), launched))


def kernels_of(work: Callable[[], Any], device: torch.device) -> list[str]:
    """Names of what runs on the card, in order; of the operators on a CPU, those of attention."""
    there = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * there) as trace:
        work()
        if there:
            torch.cuda.synchronize(device)
    if there:
        return [event.name for event in trace.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return [event.name for event in trace.events() if event.name.startswith("aten::_scaled_dot_product")]


@torch.no_grad()
def measure(
    heads: int, shared: int, queries: int, keys: int, batch: int, device: torch.device, rounds: int
) -> dict[str, dict[str, Any]]:
    """Figures of each route at one shape; of one that is refused, why."""
    case, shorter = (Case.of(heads, shared, min(queries, n), n, batch, device) for n in (keys, keys - 2))
    expected, ways, warm_up = case.expected(), routes(case), routes(shorter)
    figures: dict[str, dict[str, Any]] = {}
    for name, work in list(ways.items()):
        try:
            warm_up[name]()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            found = work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            first = (time.perf_counter() - start) * 1e3
        except RuntimeError as error:
            figures[name] = {"refused": str(error).splitlines()[0]}
            del ways[name]
            continue
        away = None if name == "without mass" else float((found.double() - expected).abs().max())
        figures[name] = {"first": first, "away": away, "kernels": kernels_of(work, device)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for round_ in range(rounds):
        for name in ways if round_ % 2 else reversed(ways):
            taken[name].append(clocks(device, ways[name]))
    for name, pairs in taken.items():
        done, host = zip(*pairs, strict=True)
        figures[name] |= {"ms": statistics.median(done), "min": min(done), "max": max(done)}
        figures[name] |= {"host": statistics.median(host)} if device.type == "cuda" else {}
    return figures


def show(name: str, figures: dict[str, dict[str, Any]]) -> None:
    """A table in Markdown."""
    print(f"\n### {name}\n\n| route | ms (range) | host | first | away | kernels |\n|---|---|---|---|---|---|")
    for route, row in figures.items():
        if "refused" in row:
            print(f"| {route} | {row['refused']} | | | | |")
            continue
        away = "" if row["away"] is None else f"{row['away']:.1e}"
        host = f"{row['host']:.3f}" if "host" in row else ""
        times = f"{row['ms']:.3f} ({row['min']:.3f} to {row['max']:.3f}) | {host} | {row['first']:.1f}"
        kernels = f"{len(row['kernels'])}: " + ", ".join(kernel[:48] for kernel in row["kernels"])
        print(f"| {route} | {times} | {away} | {kernels} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    report: dict[str, Any] = machine(options.device) | {"dtype": str(default_dtype(options.device)), "cases": {}}
    for case in options.cases:
        heads, shared, length = CASES[case]
        for batch in options.batches:
            for what, queries, keys in (("prefill", length, length), ("decoding", 1, length + 1)):
                name = f"{case}, {what}, batch {batch}: {heads}/{shared} heads, {queries} queries, {keys} keys"
                figures = measure(heads, shared, queries, keys, batch, options.device, options.rounds)
                report["cases"][name] = figures
                show(name, figures)
    if options.out:
        write(options.out, report)


if __name__ == "__main__":
    sys.exit(main())
