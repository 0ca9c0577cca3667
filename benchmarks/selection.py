"""How long the choice of tokens takes, against what others do for it.

    python benchmarks/selection.py [--runs 9] [--threads 2] [--json]

All run in one process on the same random features, in turn, in float32 on the CPU; ours once more on a card, where
there is one, until it is done there. The other methods are written here as their papers describe them; the whole order
that ``greedy_subspace`` can give beyond its budget is timed apart.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import scipy.linalg
import torch

from resprune.device import processor_name
from resprune.selection import greedy_subspace

CASES = [(576, 320, 128), (576, 4096, 128), (2880, 4096, 640)]  # N, D, k
SLOW_S = 1.0  # what takes longer than this is run three times at most


def ours(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """ResPrune's choice."""
    return greedy_subspace(features, k, relevance).indices


def ours_whole_order(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """ResPrune's choice, and the order of all other tokens."""
    return greedy_subspace(features, k, relevance).order


def cdpruner(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """Greedy MAP of a determinantal point process (arXiv 1709.05135, algorithm 1) on CDPruner's kernel."""
    unit = torch.nn.functional.normalize(features, dim=-1)
    kernel = relevance[:, None] * (unit @ unit.T) * relevance
    gain = kernel.diagonal().clone()
    rows = torch.empty(k, len(features))
    chosen = []
    for step in range(k):
        best = int(gain.argmax())
        chosen.append(best)
        rows[step] = (kernel[best] - rows[:step, best] @ rows[:step]) / gain[best].sqrt()
        gain -= rows[step] ** 2
        gain[best] = -torch.inf
    return torch.tensor(chosen).sort().values


def divprune(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """Max-min diversity on cosine distance (DivPrune, arXiv 2503.02175)."""
    unit = torch.nn.functional.normalize(features, dim=-1)
    distance = 1 - unit @ unit.T
    distance.fill_diagonal_(torch.inf)
    best = int(distance.min(dim=1).values.argmax())
    chosen, nearest = [best], distance[best].clone()
    for _ in range(k - 1):
        nearest[best] = -torch.inf
        best = int(nearest.argmax())
        chosen.append(best)
        nearest = torch.minimum(nearest, distance[best])
    return torch.tensor(chosen).sort().values


def gram_schmidt(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """Modified Gram-Schmidt: take the token of largest weighted residual, project it out of all of them."""
    residual = features.clone()
    chosen = []
    for _ in range(k):
        energy = relevance * residual.square().sum(dim=1)
        energy[chosen] = -torch.inf
        best = int(energy.argmax())
        chosen.append(best)
        direction = residual[best] / residual[best].norm()
        residual -= torch.outer(residual @ direction, direction)
    return torch.tensor(chosen).sort().values


def pivoted_qr(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """LAPACK's column-pivoted QR; it has no early stop."""
    scaled = (relevance.sqrt()[:, None] * features).numpy().T
    order = scipy.linalg.qr(scaled, mode="r", pivoting=True, check_finite=False)[1]
    return torch.from_numpy(order[:k]).sort().values


METHODS: dict[str, Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    "resprune": ours,
    "resprune, whole order": ours_whole_order,
    "cdpruner": cdpruner,
    "divprune": divprune,
    "gram-schmidt": gram_schmidt,
    "scipy pivoted QR": pivoted_qr,
}
ON_CARD = "resprune, on a card"
SAME_CHOICE = ["gram-schmidt", "scipy pivoted QR", ON_CARD]  # as ours, by other algorithms


def waited(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """ResPrune's choice of features on a card."""
    indices = ours(features, relevance, k)
    torch.cuda.synchronize()
    return indices


def measure(tokens: int, dims: int, k: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each run of each method, in the order of :data:`METHODS`, methods taking turns."""
    generator = torch.Generator().manual_seed(0)
    # A spectrum that falls, on a common mean: nearer to projected patches than white noise is.
    features = torch.randn(tokens, dims, generator=generator) * torch.linspace(0, -3, dims).exp()
    features += torch.randn(dims, generator=generator) * 0.5
    relevance = torch.rand(tokens, generator=generator).clamp_min(1e-6)
    jobs = {name: (method, features, relevance) for name, method in METHODS.items()}
    if torch.cuda.is_available():
        jobs[ON_CARD] = waited, features.cuda(), relevance.cuda()
    chosen, times = {}, {name: [] for name in jobs}
    for run in range(runs + 1):
        for name, (method, *inputs) in jobs.items():
            if run > 3 and min(times[name]) > SLOW_S * 1e3:
                continue
            start = time.perf_counter()
            chosen[name] = method(*inputs, k)
            if run:  # the first is the warm-up
                times[name].append((time.perf_counter() - start) * 1e3)
    for name in jobs.keys() & SAME_CHOICE:
        shared = len(set(chosen[name].tolist()) & set(chosen["resprune"].tolist()))
        if shared < 0.98 * k:
            sys.exit(f"{name} chose other tokens: {shared} of {k} agree.")
    return times


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="of each method, after one warm-up")
    parser.add_argument("--threads", type=int, help="of PyTorch; BLAS in numpy follows OMP_NUM_THREADS")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    report = {"machine": processor_name(), "threads": torch.get_num_threads(), "cases": []}
    for tokens, dims, k in CASES:
        times = measure(tokens, dims, k, args.runs)
        figures = {
            name: {"median_ms": statistics.median(t), "min_ms": min(t), "max_ms": max(t), "runs": len(t)}
            for name, t in times.items()
        }
        others = {name: f["median_ms"] for name, f in figures.items() if not name.startswith("resprune")}
        fastest = min(others, key=others.get)
        case = {"tokens": tokens, "dims": dims, "k": k, "methods": figures, "fastest_other": fastest}
        case["speedup"] = others[fastest] / figures["resprune"]["median_ms"]
        report["cases"].append(case)
        if not args.json:
            print(f"\n{tokens} x {dims}, k = {k}: median ms (min to max) of n")
            for name, f in figures.items():
                span = f"({f['min_ms']:.2f} to {f['max_ms']:.2f})"
                print(f"  {name:22s} {f['median_ms']:10.2f}  {span:24s} n = {f['runs']}")
            print(f"  resprune is {case['speedup']:.2f} times as fast as the fastest other, {fastest}; the goal is 2")
    if args.json:
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
