"""The choice of tokens alone: ours against CDPruner's and DivPrune's, written so that no step waits for the device.

Their published loops read each step's choice on the host; these leave it on the device, so that what is compared is
the algorithms. All start from the features and end with the kept tokens' numbers on the host, taking turns.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from benchmarks.calls import Clock
from resprune.selection import greedy_subspace

CASES = ((576, 4096, 128), (1296, 3584, 288), (2880, 4096, 640))  # N, D, k
OURS = "resprune"


def resprune(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """The library's choice, wherever it makes it."""
    return greedy_subspace(features, k, relevance).indices


def cdpruner(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """Greedy MAP of a determinantal point process (arXiv 1709.05135, algorithm 1) on CDPruner's kernel."""
    unit = normalize(features.float(), dim=-1)
    kernel = relevance[:, None] * (unit @ unit.T) * relevance
    gain = kernel.diagonal().clone()
    rows = kernel.new_empty(k, len(features))
    chosen = torch.empty(k, dtype=torch.long, device=features.device)
    for step in range(k):
        best = gain.argmax(dim=0, keepdim=True)
        row = kernel.index_select(0, best)[0]
        if step:
            row = row - rows[:step].index_select(1, best)[:, 0] @ rows[:step]
        rows[step] = row * gain.index_select(0, best).rsqrt()
        gain = (gain - rows[step].square()).index_fill(0, best, -torch.inf)
        chosen[step] = best[0]
    return chosen.sort().values


def divprune(features: torch.Tensor, relevance: torch.Tensor, k: int) -> torch.Tensor:
    """Max-min diversity on cosine distance (DivPrune, arXiv 2503.02175); the question does not count."""
    unit = normalize(features.float(), dim=-1)
    distance = 1 - unit @ unit.T
    distance.fill_diagonal_(torch.inf)
    nearest = distance.amin(dim=1)
    chosen = torch.empty(k, dtype=torch.long, device=features.device)
    for step in range(k):
        best = nearest.argmax(dim=0, keepdim=True)
        row = distance.index_select(0, best)[0]
        # The first token is the one farthest from its nearest; from then on only distances to chosen ones count.
        nearest = row if step == 0 else torch.minimum(nearest, row)
        nearest = nearest.index_fill(0, best, -torch.inf)  # and stays so, since only less can follow
        chosen[step] = best[0]
    return chosen.sort().values


METHODS: dict[str, Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    OURS: resprune,
    "cdpruner": cdpruner,
    "divprune": divprune,
}


def features_of(tokens: int, dims: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """``[tokens, dims]`` with a spectrum that falls, on a common mean: nearer to projected patches than noise is."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(tokens, dims, generator=generator) * torch.linspace(0, -3, dims).exp()
    return (features + torch.randn(dims, generator=generator) * 0.5).to(device, dtype)


@torch.no_grad()
def measure(
    tokens: int, dims: int, k: int, device: torch.device, dtype: torch.dtype, rounds: int, clock: Clock
) -> dict[str, list[float]]:
    """Milliseconds of each method, a value a round, after a warm-up of all."""
    features = features_of(tokens, dims, device, dtype)
    relevance = torch.rand(tokens, generator=torch.Generator().manual_seed(1)).clamp_min(1e-6).to(device)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for round_ in range(-2, rounds):  # compiled in the first, warm from the second
        names = list(METHODS)
        for name in names[round_ % 3 :] + names[: round_ % 3]:
            start = clock()
            METHODS[name](features, relevance, k).cpu()
            if round_ >= 0:
                times[name].append(clock() - start)
    return times
