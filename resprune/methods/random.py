"""A random sample: stronger than one expects."""

from typing import TYPE_CHECKING

import torch

from resprune.selection import Selection
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


def random(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """A random sample without replacement; ``settings.seed`` decides it, the same on every device."""
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(settings.seed))
    return Selection.of(order, k)
