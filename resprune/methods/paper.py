"""ResPrune as its paper has it."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Conditioned
from resprune.methods.resprune import ResPrune
from resprune.methods.subspace import Expansion
from resprune.methods.tokens import VisualTokens


@dataclass(frozen=True)
class Paper(Expansion, Conditioned):
    """ResPrune as its paper has it: raw features, weighted by relevance, with an exponent of 1.

    How the paper brings relevance to (0, 1], and which exponent it takes, is not in it.

    Paper: ResPrune, arXiv 2603.21105, 2026
    Source: our own; the authors had released none
    """

    name: ClassVar[str] = "paper"

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        return ResPrune(weighting="power", alpha=1.0, kernel="raw").weighed(tokens)
