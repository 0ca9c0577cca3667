"""ToMe: the most similar tokens become one."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import finite
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, checked_budget


@dataclass(frozen=True)
class ToMe(Method):
    """The most similar tokens merged in rounds.

    In a round every other token looks for the one between that has the largest cosine with it; the most similar pairs
    merge, at most half of the tokens, each into the mean of all that it stands for. A merged token is at the place of
    the one that was joined. ToMe merges inside the vision tower, by keys. Not nested; ``order`` is as tokens lie.

    Paper: ToMe, arXiv 2210.09461, 2022
    Source: our own; the authors' code is github.com/facebookresearch/ToMe
    """

    name: ClassVar[str] = "tome"
    merges: ClassVar[bool] = True
    nested: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        k = checked_budget(k, len(tokens))
        sums = finite(tokens).clone()
        owner, left = torch.arange(len(tokens), device="cpu"), torch.arange(len(tokens), device="cpu")
        while len(left) > k:
            joining, joined = left[::2], left[1::2]
            directions = torch.nn.functional.normalize(sums, dim=1)  # of the means: a length does not matter
            best, to = (directions[joining] @ directions[joined].T).max(1)
            most = best.argsort(descending=True, stable=True)[: min(len(left) - k, len(joined))]
            leaving, into = joining[most], joined[to[most]]
            sums.index_add_(0, into, sums[leaving])
            moved = torch.arange(len(tokens), device="cpu")
            moved[leaving] = into
            owner = moved[owner]
            left = left[~torch.isin(left, leaving)]
        return Selection.merging(left, torch.searchsorted(left, owner))
