"""Where a model works whose weights lie elsewhere."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def device_of(model: "PreTrainedModel") -> torch.device:
    """The device of ``model``, whither its inputs belong.

    Weights that accelerate has put aside, in memory or on a disk, are on no device until their layer is at work: their
    own says ``meta``. Its hooks know where that work is done.
    """
    if model.device.type != "meta":
        return model.device
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    places = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next((place for place in places if place is not None), "cpu"))
