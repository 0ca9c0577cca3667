"""VisPruner: half by attention, half by what is not there yet."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import attention, finite, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, checked_budget

AT_ONCE = 8  # duplicates dropped before they are looked for again


@dataclass(frozen=True)
class VisPruner(Method):
    """Half by CLS attention, half by dropping duplicates.

    What is left is split into every other token and those between. A token of the first half is as duplicated as its
    largest cosine with one of the second; the :data:`AT_ONCE` most duplicated leave, and it begins anew: our
    reading of the paper. Not nested. ``order`` is the attended ones, then the others as they lie.

    Paper: VisPruner, arXiv 2412.01818, 2024
    Source: our own; the authors' code is github.com/Theia-4869/VisPruner
    """

    name: ClassVar[str] = "vispruner"
    attends: ClassVar[bool] = True
    nested: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        k = checked_budget(k, len(tokens))
        important = largest(attention(tokens, self), k - k // 2).chosen
        features = torch.nn.functional.normalize(finite(tokens), dim=1)
        rest = torch.ones(len(tokens), dtype=torch.bool, device="cpu")
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
        others = torch.ones(len(tokens), dtype=torch.bool, device="cpu")
        others[kept] = False
        return Selection.of(torch.cat([kept, others.nonzero()[:, 0]]), k)
