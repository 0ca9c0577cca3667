"""Mass: how many tokens each kept one stands for.

Dropping a token drops its share of every softmax too. If m tokens were the same and one of them is kept, adding
``log(m)`` to the attention logit of the one gives what all of them gave. So each dropped token is counted to the kept
one nearest to it, if the two are alike enough. ToMe (arXiv 2210.09461) calls it proportional attention; RESTORE (arXiv
2606.01711) and ERA (arXiv 2606.31982) repair large vision-language models with it. It is not part of the ResPrune
paper. That the two must be alike is ours: in a picture of forty things of which eight tokens stay, most things have
none left, and counting them to one of another thing makes the model see more of that.
"""

import numpy as np
import torch

from resprune.device import as_written
from resprune.selection.gram import gram_matrix, inner_products

ANY = -1.0  # the least cosine there is
ROUNDING = 1e-6  # of a cosine in float32: two of a kind are alike at 1
SUCCESSION_ROWS = 512  # of distances at once, so that thousands of tokens do not take gigabytes


def mass_of(features: torch.Tensor, kept: torch.Tensor, alike: float = ANY) -> torch.Tensor:
    """How many tokens each kept token stands for: itself, and the dropped ones to which it is nearest and alike.

    Args:
        features: ``[N, D]`` projected visual tokens; distances are Euclidean, in float32.
        kept: ``[k]`` int64 indices, ``1 <= k <= N``, none twice.
        alike: the least cosine of two tokens of which one may stand for the other; :data:`ANY` does without.

    Returns:
        ``[k]`` float32 on the device of ``features``, along ``kept``; at least 1 each, at most N in all, which it is
        where any may stand for any. Ties go to the token that comes first in ``kept``.
    """
    return mass_from_gram(inner_products(features), kept, alike)


def mass_from_gram(gram: np.ndarray | torch.Tensor, kept: torch.Tensor, alike: float = ANY) -> torch.Tensor:
    """:func:`mass_of` for tokens whose inner products ``[N, N]`` are known, which selection needs too.

    A matrix on an accelerator stays there, with ``kept``, and nothing is waited for; beside it that takes one matrix
    ``[k, N]`` in float32. The result is where the matrix is.
    """
    if isinstance(gram, torch.Tensor) and gram.device.type != "cpu":
        return _mass_there(gram, kept.to(gram.device), alike)
    places = _represented_by(np.asarray(gram), kept, alike)
    return torch.bincount(places[places >= 0], minlength=len(kept)).float()


def _mass_there(gram: torch.Tensor, kept: torch.Tensor, alike: float) -> torch.Tensor:
    """The arithmetic of :func:`_represented_by` and the count of its places, in shapes that are known beforehand."""
    own, places = gram.diagonal(), torch.arange(len(kept), device=gram.device)
    distance = gram.index_select(0, kept).mul_(-2).add_(own[kept][:, None])
    nearest = distance.argmin(0).scatter(0, kept, places)
    stands = torch.ones_like(own)
    if alike > ANY:
        norms = own.sqrt().clamp_min(1e-12)
        heads = kept[nearest]
        unlike = gram.gather(1, heads[:, None])[:, 0] < (alike - ROUNDING) * norms * norms[heads]
        stands = (~unlike).to(own.dtype).scatter(0, kept, 1.0)
    return torch.zeros(len(kept), dtype=own.dtype, device=gram.device).scatter_add_(0, nearest, stands)


def represented_by(features: torch.Tensor, kept: torch.Tensor, alike: float = ANY) -> torch.Tensor:
    """Which kept token stands for each: ``[N]`` int64 places in ``kept``, of the kept ones their own, -1 for none.

    Arguments and ties as in :func:`mass_of`.
    """
    return _represented_by(gram_matrix(features), kept, alike).to(features.device)


def _represented_by(gram: np.ndarray, kept: torch.Tensor, alike: float) -> torch.Tensor:
    kept = kept.cpu().numpy()
    dropped = np.ones(len(gram), bool)
    dropped[kept] = False
    # |v - c|^2 without |v|^2, which is the same for every centre
    distance = gram.diagonal()[kept] - 2 * gram[np.ix_(dropped, kept)]
    places = np.empty(len(gram), np.int64)
    places[kept] = np.arange(len(kept))
    nearest = distance.argmin(1)
    if alike > ANY:
        norms = np.sqrt(gram.diagonal()).clip(1e-12)
        heads = kept[nearest]
        dropped_ones = np.flatnonzero(dropped)
        nearest[gram[dropped_ones, heads] < (alike - ROUNDING) * norms[dropped_ones] * norms[heads]] = -1
    places[dropped] = nearest
    return torch.from_numpy(places)


def succession(features: torch.Tensor, order: torch.Tensor, alike: float = ANY) -> list[list[int]]:
    """Who stands for each token as the budget grows, for a nested order: one pass serves every budget.

    Args:
        features: ``[N, D]`` projected visual tokens.
        order: ``[N]`` int64, all of them, best first.
        alike: as in :func:`mass_of`.

    Returns:
        For each token the ascending ranks of those nearest to it in turn, from 0 to its own, each as ``-1 - rank``
        where the two are not alike: with a budget of k, ``order[r]`` stands for it, r the last of its ranks below k, or
        none does if that is negative. That is what :func:`represented_by` says of ``order[:k]``.
    """
    rows = features.float()
    own = torch.empty_like(order)
    own[order] = torch.arange(len(order), device=order.device)
    centres, norms = rows[order], rows.norm(dim=1).clamp_min(1e-12)
    found = []
    for start in range(0, len(rows), SUCCESSION_ROWS):
        part = slice(start, start + SUCCESSION_ROWS)
        with as_written(rows.device):
            products = rows[part] @ centres.T
        distance = centres.square().sum(1) - 2 * products
        unlike = products < (alike - ROUNDING) * norms[part, None] * norms[order]
        nearer = torch.ones_like(distance, dtype=torch.bool)
        nearer[:, 1:] = distance[:, 1:] < distance.cummin(1).values[:, :-1]
        for row, other, rank in zip(nearer, unlike, own[part].tolist(), strict=True):
            before = row[:rank].nonzero()[:, 0]
            found.append([*torch.where(other[before], -1 - before, before).tolist(), rank])
    return found
