"""VisionZip: dominant tokens stay, the others are merged."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import attention, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, checked_budget

CONTEXTUAL = 10 / 64  # of the budget are merged tokens: 30 of 192, 20 of 128, 10 of 64


@dataclass(frozen=True)
class VisionZip(Method):
    """Dominant tokens by CLS attention, the others merged into a few.

    Of the tokens that are not dominant, evenly spaced ones are targets; each of the others joins the target whose key
    has the largest cosine with its own. VisionZip merges before the projector, this after it. Not nested.

    Paper: VisionZip, arXiv 2412.04467, 2024
    Source: our own; the authors' code is github.com/dvlab-research/VisionZip
    """

    name: ClassVar[str] = "visionzip"
    attends: ClassVar[bool] = True
    merges: ClassVar[bool] = True
    nested: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        k = checked_budget(k, len(tokens))
        by_attention = largest(attention(tokens, self), k).order
        contextual = min(round(CONTEXTUAL * k), k - 1)
        dominant = by_attention[: k - contextual]
        rest = by_attention[k - contextual :].sort().values
        owners = torch.zeros(len(tokens), dtype=torch.int64, device="cpu")
        owners[dominant] = torch.arange(len(dominant), device="cpu")
        if not contextual:
            return Selection.of(by_attention, k)
        targets = rest[:: len(rest) // contextual][:contextual]
        keys = torch.nn.functional.normalize(tokens.saliency.keys.cpu(), dim=1)
        owners[rest] = len(dominant) + (keys[rest] @ keys[targets].T).argmax(1)
        owners[targets] = len(dominant) + torch.arange(contextual, device="cpu")
        return Selection.merging(torch.cat([dominant, targets]), owners)
