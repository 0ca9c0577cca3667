"""Learn what a vision tower's CLS token attends to while the model encodes its images."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModel, PreTrainedModel

from resprune.device import as_written
from resprune.methods import Saliency
from resprune.seam.attention import Attended, Attention, Call, States, under_way


class _Listening(Call):
    """A call that notes the queries and keys of one layer, as they come."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer.config)
        self._layer = layer
        self.heard: tuple[torch.Tensor, torch.Tensor] | None = None

    def attend(self, attention: Attention, module: nn.Module, states: States, mask: Any, **options: Any) -> Attended:
        if module is self._layer:
            self.heard = states.query, states.key
        return super().attend(attention, module, states, mask, **options)


@contextlib.contextmanager
def watched(model: PreTrainedModel) -> Iterator[list[Saliency]]:
    """Learn the saliency of each image that ``model`` encodes within a ``with`` block; it is there when that ends.

    Nothing where the model's vision tower has no CLS token, or tiles its pictures: only LLaVA-1.5 is known to have one
    row of attention for each picture. Queries and keys are those that the layer computes anyway.
    """
    found: list[Saliency] = []
    tower = getattr(model.base_model, "vision_tower", None)
    if model.config.model_type != "llava" or not isinstance(tower, CLIPVisionModel):
        yield found
        return
    layers = next(module for name, module in tower.named_modules() if name.endswith("encoder.layers"))
    read = model.config.vision_feature_layer
    read = read if isinstance(read, int) else read[-1]
    call = _Listening(layers[len(layers) + read if read < 0 else read - 1].self_attn)
    with under_way(call):
        yield found
    if call.heard is not None:
        with as_written(call.heard[0].device):
            found += _each(*(states.float() for states in call.heard))


def _each(queries: torch.Tensor, keys: torch.Tensor) -> list[Saliency]:
    """Of ``[images, H, 1 + N, d]`` queries and keys, the CLS token's first."""
    by_head = keys.transpose(1, 2)  # [images, 1 + N, H, d]
    logits = torch.einsum("ihd,inhd->ihn", queries[:, :, 0], by_head) * by_head.shape[-1] ** -0.5
    attention = logits.softmax(-1)[..., 1:]
    return [Saliency(*pair) for pair in zip(attention, by_head[:, 1:].mean(2), strict=True)]
