"""VisionZip: dominant tokens stay, the others are merged."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import attention, largest
from resprune.selection import Selection, checked_budget
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


CONTEXTUAL = 10 / 64  # of the budget are merged tokens: 30 of 192, 20 of 128, 10 of 64


def visionzip(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Dominant tokens by CLS attention, and contextual ones into which the others merge (VisionZip, arXiv 2412.04467).

    Of the tokens that are not dominant, evenly spaced ones are targets; each of the others joins the target whose key
    has the largest cosine with its own. VisionZip merges before the projector, this after it. Not nested.
    """
    k = checked_budget(k, len(tokens))
    by_attention = largest(attention(tokens), k).order
    contextual = min(round(CONTEXTUAL * k), k - 1)
    dominant = by_attention[: k - contextual]
    rest = by_attention[k - contextual :].sort().values
    owners = torch.zeros(len(tokens), dtype=torch.int64)
    owners[dominant] = torch.arange(len(dominant))
    if not contextual:
        return Selection.of(by_attention, k)
    targets = rest[:: len(rest) // contextual][:contextual]
    keys = torch.nn.functional.normalize(tokens.saliency.keys.cpu(), dim=1)
    owners[rest] = len(dominant) + (keys[rest] @ keys[targets].T).argmax(1)
    owners[targets] = len(dominant) + torch.arange(contextual)
    return Selection.merging(torch.cat([dominant, targets]), owners)
