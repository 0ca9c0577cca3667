"""Relevance alone, without a subspace."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Conditioned
from resprune.methods.scores import largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection


@dataclass(frozen=True)
class MostRelevant(Conditioned):
    """The most relevant tokens, without a subspace.

    By index where they tie or the question names nothing.

    Paper: ResPrune, arXiv 2603.21105, 2026 (its ablation)
    Source: our own; the authors had released none
    """

    name: ClassVar[str] = "relevance"

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        if tokens.relevance is None:
            return Selection.of(torch.arange(len(tokens), device="cpu"), k)
        return largest(tokens.relevance.cpu(), k)
