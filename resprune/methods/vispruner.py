"""VisPruner: half by attention, half by what is not there yet."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import attention, finite, largest
from resprune.selection import Selection, checked_budget
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


AT_ONCE = 8  # duplicates dropped before they are looked for again


def vispruner(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Half of the budget by CLS attention; of the rest, the most duplicated leave until the budget is met.

    What is left is split into every other token and those between. A token of the first half is as duplicated as its
    largest cosine with one of the second; the :data:`AT_ONCE` most duplicated leave, and it begins anew (VisPruner,
    arXiv 2412.01818, and our reading of it). Not nested. ``order`` is the attended ones, then the others as they lie.
    """
    k = checked_budget(k, len(tokens))
    important = largest(attention(tokens), k - k // 2).chosen
    features = torch.nn.functional.normalize(finite(tokens), dim=1)
    rest = torch.ones(len(tokens), dtype=torch.bool)
    rest[important] = False
    while (surplus := int(rest.sum()) - k // 2) > 0:
        left = rest.nonzero()[:, 0]
        one, other = left[::2], left[1::2]
        if not len(other):  # a single one, and nothing is to be left
            rest[:] = False
            break
        duplicated = (features[one] @ features[other].T).amax(1)
        rest[one[duplicated.argsort(descending=True, stable=True)[: min(AT_ONCE, surplus)]]] = False
    kept = torch.cat([important, rest.nonzero()[:, 0]])
    others = torch.ones(len(tokens), dtype=torch.bool)
    others[kept] = False
    return Selection.of(torch.cat([kept, others.nonzero()[:, 0]]), k)
