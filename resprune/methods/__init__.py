"""ResPrune and what it is compared with: one signature, one registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resprune.methods.ablations import relevance, spare, subspace
from resprune.methods.diverse import divprune
from resprune.methods.outstanding import lrcp, norm
from resprune.methods.spanning import cdpruner, resprune
from resprune.methods.spread import random, uniform
from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings  # which names the methods


@dataclass(frozen=True)
class Method:
    """A way to choose the visual tokens of one image: ``METHODS["resprune"](tokens, k, settings) -> Selection``.

    Attributes:
        choose: from ``VisualTokens``, a budget ``k >= 1`` (more than N keeps all) and ``Settings`` to a ``Selection``.
        summary: one line for people.
        conditioned: the words of the question play a part.
        energies: its selections have ``energy`` and ``captured``, which an automatic budget needs.
        nested: what a budget of k keeps is the first k of ``Selection.order`` for any budget, so that one order
            serves them all.
    """

    choose: Callable[[VisualTokens, int, "Settings"], Selection]
    summary: str
    conditioned: bool = False
    energies: bool = False
    nested: bool = True

    def __call__(self, tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
        return self.choose(tokens, k, settings)


METHODS: dict[str, Method] = {
    "resprune": Method(
        resprune,
        "greedy subspace expansion, weighted by relevance to the question (arXiv 2603.21105)",
        conditioned=True,
        energies=True,
    ),
    "random": Method(random, "a seeded random sample"),
    "uniform": Method(uniform, "an even grid over the picture", nested=False),
    "divprune": Method(divprune, "largest smallest cosine distance between kept tokens (arXiv 2503.02175)"),
    "cdpruner": Method(
        cdpruner,
        "determinantal point process on cosines and relevance (arXiv 2506.10967)",
        conditioned=True,
        energies=True,
    ),
    "subspace": Method(subspace, "resprune without the question (alpha 0)", energies=True),
    "relevance": Method(relevance, "the most relevant tokens, without a subspace", conditioned=True),
    "spare": Method(
        spare, "resprune with relevance turned around, as in SPARE (arXiv 2606.18681)", conditioned=True, energies=True
    ),
    "norm": Method(norm, "the longest tokens"),
    "lrcp": Method(lrcp, "what the largest principal components explain worst (LRCP)"),
}
