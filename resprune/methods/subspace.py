"""ResPrune without the question, and what methods share that grow a subspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, select, select_all


@dataclass(frozen=True)
class Expansion(Method):
    """A method that grows a subspace greedily: it says which inner products and weights, and one kernel does the rest.

    On an accelerator that choice is made there, for all images of a call at once, and nothing waits for it.
    """

    energies: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "select" in vars(cls) and "on_device" not in vars(cls):
            cls.on_device = False  # it chooses otherwise, and need not heed what is promised here

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Where ``tokens.features`` are: ``[N, N]`` float32 inner products, and ``[N]`` weights or ``None`` for 1."""
        raise NotImplementedError(f"{type(self).__name__} has no weighed().")

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        products, weights = self.weighed(tokens)
        return select(products, k, weights, first=tokens.first)

    def select_all(self, images: Sequence[VisualTokens], budgets: Sequence[int]) -> list[Selection]:
        if len(images) == 1 or type(self).select is not Expansion.select:  # a method of others may choose otherwise
            return super().select_all(images, budgets)
        products, weights = zip(*map(self.weighed, images), strict=True)
        return select_all(products, budgets, weights, [tokens.first for tokens in images])


@dataclass(frozen=True)
class Subspace(Expansion):
    """The paper's ResPrune without the question: greedy subspace expansion on the raw features.

    Paper: ResPrune, arXiv 2603.21105, 2026 (its ablation)
    Source: our own; the authors had released none
    """

    name: ClassVar[str] = "subspace"

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        return tokens.products, None
