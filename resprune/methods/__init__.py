"""ResPrune and what it is compared with: one signature, one registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resprune.errors import InputError
from resprune.methods.cdpruner import cdpruner
from resprune.methods.dart import dart
from resprune.methods.divprune import divprune
from resprune.methods.era import era
from resprune.methods.fastervlm import fastervlm
from resprune.methods.lrcp import lrcp
from resprune.methods.norm import norm
from resprune.methods.paper import paper
from resprune.methods.random import random
from resprune.methods.relevance import relevance
from resprune.methods.resprune import resprune
from resprune.methods.spare import spare
from resprune.methods.subspace import subspace
from resprune.methods.tome import tome
from resprune.methods.uniform import uniform
from resprune.methods.visionzip import visionzip
from resprune.methods.vispruner import vispruner
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
        attends: chooses by what the vision tower's CLS token attends to, which few models have.
        reads_text: asks for the embeddings of the question's tokens.
        merges: what it keeps are means of several tokens.
        inside: its tokens leave inside the language model (:mod:`resprune.inside`), and ``choose`` is not asked.
    """

    choose: Callable[[VisualTokens, int, "Settings"], Selection]
    summary: str
    conditioned: bool = False
    energies: bool = False
    nested: bool = True
    attends: bool = False
    reads_text: bool = False
    merges: bool = False
    inside: bool = False

    def __call__(self, tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
        if self.attends and tokens.saliency is None:
            raise InputError(
                f"The method {settings.method!r} chooses by the attention of a CLS token, which is known of "
                "LLaVA-1.5's vision tower only; choose another method, or give such a model, and its images or what "
                "resprune.encode made of them."
            )
        return self.choose(tokens, k, settings)


def _never(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    raise InputError(f"The method {settings.method!r} chooses inside a language model; attach it to one.")


METHODS: dict[str, Method] = {
    "resprune": Method(
        resprune,
        "greedy subspace expansion, weighted by relevance to the question, with the defaults that we chose",
        conditioned=True,
        energies=True,
    ),
    "paper": Method(
        paper,
        "resprune as its paper has it, weighted by r ** alpha (arXiv 2603.21105)",
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
    "subspace": Method(subspace, "the paper's resprune without the question", energies=True),
    "relevance": Method(relevance, "the most relevant tokens, without a subspace", conditioned=True),
    "spare": Method(
        spare,
        "the paper's resprune with relevance turned around, as in SPARE (arXiv 2606.18681)",
        conditioned=True,
        energies=True,
    ),
    "norm": Method(norm, "the longest tokens"),
    "lrcp": Method(lrcp, "what the largest principal components explain worst (LRCP)"),
    "fastervlm": Method(fastervlm, "what the CLS token attends to (FasterVLM, arXiv 2412.01818)", attends=True),
    "vispruner": Method(
        vispruner,
        "half by CLS attention, half by dropping duplicates (VisPruner, arXiv 2412.01818)",
        attends=True,
        nested=False,
    ),
    "visionzip": Method(
        visionzip,
        "dominant tokens by CLS attention, the others merged into a few (VisionZip, arXiv 2412.04467)",
        attends=True,
        merges=True,
        nested=False,
    ),
    "tome": Method(
        tome, "the most similar tokens merged in rounds (ToMe, arXiv 2210.09461)", merges=True, nested=False
    ),
    "dart": Method(dart, "what is least like a few pivots (DART, arXiv 2502.11494)", reads_text=True, nested=False),
    "era": Method(
        era,
        "diverse and attended anchors, the others recycled into them (ERA, arXiv 2606.31982; partly guessed)",
        attends=True,
        merges=True,
    ),
    "fastv": Method(
        _never, "what the last token attends to in the second layer (FastV, arXiv 2403.06764), by masks", inside=True
    ),
}
