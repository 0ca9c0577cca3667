"""ResPrune with relevance turned around."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Conditioned
from resprune.methods.resprune import ResPrune
from resprune.methods.subspace import Expansion
from resprune.methods.tokens import VisualTokens


@dataclass(frozen=True)
class Spare(Expansion, Conditioned):
    """The paper's ResPrune with relevance turned around: what the question does not name comes first, as in SPARE.

    Only the weights are SPARE's; the subspace and the relevance are ours.

    Paper: SPARE, arXiv 2606.18681, 2026
    Source: our own; only the sign of the weights is SPARE's
    """

    name: ClassVar[str] = "spare"

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        return ResPrune(weighting="power", alpha=1.0, kernel="raw", sign=-1).weighed(tokens)
