"""CDPruner: a determinantal point process on cosines, weighed by relevance."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from resprune.methods.resprune import gram
from resprune.selection import Selection, select
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def cdpruner(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Greedy MAP of the determinantal point process ``L = diag(r) S diag(r)``, S the cosines (CDPruner, 2506.10967).

    CDPruner takes r from CLIP's text tower and negates it on LLaVA. Not every model has such a tower, so here r is
    the relevance that ResPrune uses, in the language model's own embedding space and not negated; it is 1 where the
    question names nothing. ``settings.alpha`` and ``settings.sign`` are not used.
    """
    # L is the Gram matrix of the rows scaled by r / |v|: weights of the square, and no normalised copy is needed.
    norms = torch.from_numpy(np.sqrt(tokens.gram.diagonal()))
    scale = norms.clamp_min(1e-9).reciprocal()  # whose square float32 still holds
    if tokens.relevance is not None:
        scale = scale * tokens.relevance.cpu()
    return select(gram(tokens), k, scale.square())
