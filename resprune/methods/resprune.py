"""ResPrune: the kept tokens span the most, weighed by the question."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Conditioned
from resprune.methods.subspace import Expansion
from resprune.methods.tokens import VisualTokens
from resprune.options import option
from resprune.question import FLOOR


@dataclass(frozen=True)
class ResPrune(Expansion, Conditioned):
    """Greedy subspace expansion, weighted by relevance to the question, with the defaults that we chose.

    A token's weight is ``1 + alpha * c``, c its cosine with the question's words, and never so small that what the
    question does not name is shut out. ``weighting="power"`` is the paper's ``r ** alpha``, r the same cosine stretched
    to (0, 1] over the image. ``sign=-1`` turns either around: ``1 / (1 + alpha * c)``, or ``(1 - r) ** alpha`` as in
    SPARE (arXiv 2606.18681). Where the question names nothing, or ``alpha`` is 0, all tokens weigh the same.

    Paper: ResPrune, arXiv 2603.21105, 2026
    Source: our own; the authors had released none
    """

    name: ClassVar[str] = "resprune"

    alpha: float = option(8.0, "how much the question weighs; 0 ignores it", least=0, usual=(0, 64))
    sign: int = option(1, "1 prefers what is relevant to the question, -1 the rest", choices=(1, -1))
    weighting: str = option(
        "bounded",
        "weight of a token: 1 + alpha times its cosine, or its relevance to the power of alpha",
        choices=("bounded", "power"),
    )
    kernel: str = option(
        "normalised",
        "features of the subspace: as they are, centred, normalised, or both",
        choices=("raw", "centred", "normalised", "both"),
    )

    def weighed(self, tokens: VisualTokens) -> tuple[torch.Tensor, torch.Tensor | None]:
        products, weights = tokens.products, self._weights(tokens)
        own = products.diagonal()
        if self.kernel in ("centred", "both"):
            mean = products.mean(0)
            products = products - mean - mean[:, None] + mean.mean()
            own = products.diagonal()
        if self.kernel in ("normalised", "both"):
            # Scaling a vector is weighing its energy.
            scale = 1 / own.clamp_min(1e-18)
            weights = scale if weights is None else scale * weights
        return products, weights

    def _weights(self, tokens: VisualTokens) -> torch.Tensor | None:
        """``[N]``; ``None`` where all are the same."""
        if tokens.relevance is None or self.alpha == 0:
            return None
        if self.weighting == "bounded":
            weights = 1 + self.alpha * tokens.cosine
            return weights if self.sign > 0 else 1 / weights
        relevance = tokens.relevance
        return (relevance if self.sign > 0 else (1 - relevance).clamp_min(FLOOR)) ** self.alpha
