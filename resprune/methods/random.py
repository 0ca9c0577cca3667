"""A random sample: stronger than one expects."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.options import option
from resprune.selection import Selection


@dataclass(frozen=True)
class Random(Method):
    """A seeded random sample.

    Without replacement, and the same on every device.

    Paper: none, a baseline
    """

    name: ClassVar[str] = "random"
    draws: ClassVar[bool] = True

    seed: int = option(0, "which sample it is", least=0, most=2**63 - 1)

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        order = torch.randperm(len(tokens), generator=torch.Generator("cpu").manual_seed(self.seed), device="cpu")
        return Selection.of(order, k)

    def drawn(self, number: int) -> Self:
        return replace(self, seed=number)
