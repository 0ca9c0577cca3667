"""Learn what a vision tower's CLS token attends to while the model encodes its images."""

import contextlib
from collections.abc import Iterator

import torch
from transformers import CLIPVisionModel, PreTrainedModel

from resprune.methods import Saliency


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
    attention = layers[len(layers) + read if read < 0 else read - 1].self_attn
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        getattr(attention, name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        for name in ("q_proj", "k_proj")
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
    if seen:
        found += _each(seen["q_proj"].float(), seen["k_proj"].float(), attention.num_heads)


def _each(queries: torch.Tensor, keys: torch.Tensor, heads: int) -> list[Saliency]:
    """Of ``[images, 1 + N, D]`` queries and keys, the CLS token's first."""
    by_head = keys.unflatten(2, (heads, -1))  # [images, 1 + N, H, d]
    asked = queries[:, 0].unflatten(1, (heads, -1))
    logits = torch.einsum("ihd,inhd->ihn", asked, by_head) * by_head.shape[-1] ** -0.5
    attention = logits.softmax(-1)[..., 1:]
    return [Saliency(*pair) for pair in zip(attention, by_head[:, 1:].mean(2), strict=True)]
