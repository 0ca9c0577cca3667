"""What a vision tower's CLS token attends to, for methods that choose by it."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Saliency:
    """What the layer that a model reads its patches from knows of the N patches of one image, on the model's device.

    Attributes:
        attention: ``[H, N]`` float32, the CLS token's attention to each patch, a row a head; with its
            attention to itself each row adds up to 1.
        keys: ``[N, d]`` float32, the mean over heads of the patches' keys.
    """

    attention: torch.Tensor
    keys: torch.Tensor
