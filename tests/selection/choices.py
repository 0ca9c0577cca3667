"""What tests of the choice share, whatever it runs on: inputs, and the host's choice to hold it against."""

import numpy as np
import torch

from resprune.selection import gram_matrix
from resprune.selection.inputs import checked
from resprune.selection.on_host import select_on_host

DISTINCT = [
    (1, 3),
    (2, 5),
    (31, 40),
    (64, 90),
    (100, 200),
    (144, 160),
]  # tokens and dimensions; rounding decides nothing


def products(tokens: int, dims: int, seed: int = 3, mean: float = 0.0) -> torch.Tensor:
    """``[N, N]`` inner products of random features."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tokens, dims, generator=generator) + mean * torch.randn(dims, generator=generator)
    return torch.from_numpy(gram_matrix(rows))


def weights_of(tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(tokens, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-6)


def by_host(gram: torch.Tensor, k: int, weights: torch.Tensor | None = None, first: torch.Tensor | None = None):
    """The host's selection, for tensors that may be elsewhere."""
    weights, first = (None if tensor is None else tensor.cpu() for tensor in (weights, first))
    return select_on_host(gram.cpu().numpy(), checked(k, len(gram), weights, first), weights, first, "cpu")


def holds_as_much(selection, gram: torch.Tensor, k: int, weights=None, first=None, within: float = 1e-4) -> bool:
    """Whether what is kept spans as much as the host's choice; none is kept twice."""
    k = checked(k, len(gram), weights, first)
    indices = selection.indices.cpu()
    host = by_host(gram, k, weights, first)
    spanned, wanted = (float(one.captured.cpu()[k - 1]) for one in (selection, host))
    return len(indices.unique()) == k and abs(spanned - wanted) <= within


def is_greedy(selection, gram: torch.Tensor, weights=None, first=None) -> bool:
    """Whether each token kept has the largest weighted residual energy of its moment, but for rounding in float32.

    In float64, up to where next to nothing is left; those that come first are taken as they are.
    """
    gram = gram.cpu().double().numpy()
    scale = np.ones(len(gram)) if weights is None else weights.cpu().double().numpy()
    own, chosen = gram.diagonal(), selection.chosen.tolist()
    left, rows, rounding = own.copy(), np.zeros((len(chosen), len(gram))), 3e-5 * own * scale
    for step, token in enumerate(chosen):
        score = scale * left
        best = score.argmax()
        if score[best] <= 3 * rounding[best]:
            break
        if (
            step >= (0 if first is None else len(first))
            and score[token] + rounding[token] < score[best] - rounding[best]
        ):
            return False
        if left[token] > 1e-5 * own[token]:
            rows[step] = (gram[token] - rows[:step, token] @ rows[:step]) / np.sqrt(left[token])
            left = (left - rows[step] ** 2).clip(0)
        left[token] = 0
    return True
