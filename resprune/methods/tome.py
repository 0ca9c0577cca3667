"""ToMe: the most similar tokens become one."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import finite
from resprune.selection import Selection, checked_budget
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def tome(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Bipartite soft matching (ToMe, arXiv 2210.09461) on the projected tokens, in rounds, until ``k`` are left.

    In a round every other token looks for the one between that has the largest cosine with it; the most similar pairs
    merge, at most half of the tokens, each into the mean of all that it stands for. A merged token is at the place of
    the one that was joined. ToMe merges inside the vision tower, by keys. Not nested; ``order`` is as tokens lie.
    """
    k = checked_budget(k, len(tokens))
    sums = finite(tokens).clone()
    owner, left = torch.arange(len(tokens)), torch.arange(len(tokens))
    while len(left) > k:
        joining, joined = left[::2], left[1::2]
        directions = torch.nn.functional.normalize(sums, dim=1)  # of the means: a length does not matter
        best, to = (directions[joining] @ directions[joined].T).max(1)
        most = best.argsort(descending=True, stable=True)[: min(len(left) - k, len(joined))]
        leaving, into = joining[most], joined[to[most]]
        sums.index_add_(0, into, sums[leaving])
        moved = torch.arange(len(tokens))
        moved[leaving] = into
        owner = moved[owner]
        left = left[~torch.isin(left, leaving)]
    return Selection.merging(left, torch.searchsorted(left, owner))
