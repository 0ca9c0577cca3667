"""The positions of a whole prompt, of which only some columns are then sent."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import GenerationMixin, PreTrainedModel


def positions_of(
    model: PreTrainedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    start: int,
    known: torch.Tensor | None,
    call: Mapping[str, Any],
) -> torch.Tensor:
    """What the plain model takes the positions of a prompt to be.

    Args:
        model: of any family.
        ids: ``[B, S]`` the whole prompt, what is in the KV cache included.
        mask: ``[B, S]`` its attention mask.
        start: the first column that is not in the cache.
        known: ``[..., B, P]`` positions that the call had which filled the cache, where they are known.
        call: arguments of ``generate``; its images are those from ``start`` on.

    Returns:
        ``[B, S]``, or ``[4, B, S]`` where rotary embeddings have three axes (mRoPE): those of the text, then time,
        height and width.
    """
    if start and hasattr(model.base_model, "rope_deltas"):
        return _continued(model, ids, mask, start, known, call)
    return model._prepare_position_ids_for_generation(ids, {**call, "attention_mask": mask})


def note_deltas(model: PreTrainedModel, positions: torch.Tensor, mask: torch.Tensor) -> None:
    """Tell a model with mRoPE how far the positions of a prompt ``[4, B, L]`` run ahead of its number of tokens.

    The model adds this to the count of tokens in a cache where it is given no positions.
    """
    if hasattr(model.base_model, "rope_deltas") and positions.ndim == 3:
        model.base_model.rope_deltas = positions[1:, :, -1:].amax(dim=0) + 1 - mask.sum(dim=1, keepdim=True)


def _continued(
    model: PreTrainedModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    start: int,
    known: torch.Tensor | None,
    call: Mapping[str, Any],
) -> torch.Tensor:
    """Positions ``[4, B, S]`` of a prompt that goes on from a cache.

    The model's own way goes by its latest call, whatever cache that filled, and by the number of cached columns, which
    pruning changes; and it wants the grids of all images again, the cached ones included.
    """
    text = GenerationMixin._prepare_position_ids_for_generation(model, ids, {"attention_mask": mask})
    if known is None:
        deltas = _deltas_of_model(model, ids[:, :start])
        known = text.new_zeros(4, len(ids), 0)
    else:
        known = known.repeat_interleave(len(ids) // known.shape[-2], dim=-2)[..., :start]
        deltas = known[1:].amax(dim=(0, 2)) + 1 - mask[:, : known.shape[-1]].sum(dim=1)
    positions = torch.stack([text, *[text + deltas[:, None]] * 3])
    positions[..., : known.shape[-1]] = known
    images = (ids == model.config.image_token_id)[:, start:]
    if images.any():
        shapes = {"image_grid_thw": call["image_grid_thw"], "mm_token_type_ids": images.int()}
        new, _ = model.base_model.get_rope_index(ids[:, start:], attention_mask=mask[:, start:], **shapes)
        positions[1:, :, start:] = new + (mask[:, :start].sum(dim=1) + deltas)[:, None]
    return positions


def _deltas_of_model(model: PreTrainedModel, cached: torch.Tensor) -> torch.Tensor:
    """``[B]`` what the model noted of the cache, which the plain model filled; nothing before the first image."""
    noted = model.base_model.rope_deltas
    if noted is None:
        return cached.new_zeros(len(cached))
    has_images = (cached == model.config.image_token_id).any(dim=1)
    return noted.repeat_interleave(len(cached) // len(noted), dim=0)[:, 0].to(cached.device) * has_images
