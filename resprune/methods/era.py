"""ERA: diverse and attended anchors, into which the others are recycled."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import finite, saliency_of
from resprune.methods.tokens import VisualTokens
from resprune.question import FLOOR
from resprune.selection import Selection, represented_by, select


@dataclass(frozen=True)
class ERA(Method):
    """Diverse and attended anchors, the others recycled into them; partly guessed.

    Told: anchors are chosen for diversity and head-wise saliency, both by entropy; the other tokens are recycled into
    their anchors; a bias of each cluster goes into the attention logits, which here is mass (``mass=True``).

    Guessed: diversity is the log-determinant of the anchors' cosines, the entropy of a normal distribution, chosen
    greedily; a token's saliency is the sum over heads of ``-a log a``, a its share of a head's CLS attention to the
    patches, and weighs it; a token goes to the anchor nearest to it, which becomes the mean of all that are its own.

    Paper: ERA, arXiv 2606.31982, 2026
    Source: our own, from the abstract; the authors' code was not out
    """

    name: ClassVar[str] = "era"
    attends: ClassVar[bool] = True
    merges: ClassVar[bool] = True

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        features = finite(tokens)
        shares = saliency_of(tokens, self).attention.cpu()
        shares = shares / shares.sum(1, keepdim=True).clamp_min(FLOOR)
        saliency = torch.special.entr(shares).sum(0).clamp_min(FLOOR)
        unit = torch.nn.functional.normalize(features, dim=1)
        chosen = select((unit @ unit.T).numpy(), k, (saliency / saliency.amax()).square()).chosen
        return Selection.merging(chosen, represented_by(features, chosen))
