"""CDPruner: a determinantal point process on cosines, weighed by relevance."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Conditioned
from resprune.methods.subspace import Expansion
from resprune.methods.tokens import VisualTokens


@dataclass(frozen=True)
class CDPruner(Expansion, Conditioned):
    """Determinantal point process on cosines and relevance.

    Greedy MAP of ``L = diag(r) S diag(r)``, S the cosines. CDPruner takes r from CLIP's text tower and negates it on
    LLaVA. Not every model has such a tower, so here r is the relevance that ResPrune uses, in the language model's own
    embedding space and not negated; it is 1 where the question names nothing.

    Paper: CDPruner, arXiv 2506.10967, 2025
    Source: our own; the authors' code is github.com/Theia-4869/CDPruner
    """

    name: ClassVar[str] = "cdpruner"

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        # L is the Gram matrix of the rows scaled by r / |v|: weights of the square, and no normalised copy is needed.
        products = tokens.products
        scale = products.diagonal().sqrt().clamp_min(1e-9).reciprocal()  # whose square float32 still holds
        if tokens.relevance is not None:
            scale = scale * tokens.relevance
        return products, scale.square()
