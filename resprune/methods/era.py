"""ERA: diverse and attended anchors, into which the others are recycled."""

from typing import TYPE_CHECKING

import torch

from resprune.mass import represented_by
from resprune.methods.scores import finite
from resprune.relevance import FLOOR
from resprune.selection import Selection, select
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def era(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """ERA (arXiv 2606.31982) as far as its abstract tells, which is all that could be read; its code was not out.

    Told: anchors are chosen for diversity and head-wise saliency, both by entropy; the other tokens are recycled into
    their anchors; a bias of each cluster goes into the attention logits, which here is mass (``mass=True``).

    Guessed: diversity is the log-determinant of the anchors' cosines, the entropy of a normal distribution, chosen
    greedily; a token's saliency is the sum over heads of ``-a log a``, a its share of a head's CLS attention to the
    patches, and weighs it; a token goes to the anchor nearest to it, which becomes the mean of all that are its own.
    """
    features = finite(tokens)
    shares = tokens.saliency.attention.cpu()
    shares = shares / shares.sum(1, keepdim=True).clamp_min(FLOOR)
    saliency = torch.special.entr(shares).sum(0).clamp_min(FLOOR)
    unit = torch.nn.functional.normalize(features, dim=1)
    chosen = select((unit @ unit.T).numpy(), k, (saliency / saliency.amax()).square()).chosen
    return Selection.merging(chosen, represented_by(features, chosen))
