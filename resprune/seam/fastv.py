"""A call of ``generate`` whose visual tokens leave inside the language model."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from resprune.device import Span, device_of
from resprune.errors import InputError
from resprune.layouts import check_ids
from resprune.seam.arguments import CallersPrompt, setting
from resprune.seam.encoding import Images, encode
from resprune.seam.fastv_attention import LAYER, leaving
from resprune.seam.request import SIZES, concerns_us, earlier_prompt, encoded_images, mask_and_filler, rows_of
from resprune.seam.result import PruneResult
from resprune.selection import Selection
from resprune.settings import Settings


def generate_inside(
    model: PreTrainedModel,
    settings: Settings,
    call: dict[str, Any],
    original: Callable[..., ModelOutput | torch.Tensor],
) -> tuple[ModelOutput | torch.Tensor, list[PruneResult]]:
    """What ``original(**call)`` gives when its visual tokens leave inside the language model, and what happened to each
    image. The prompt, its positions and the KV cache are those of the plain model.

    Raises:
        InputError: if the call goes on from a KV cache or reads its prompt in chunks, or its images do not fit its
            prompts.
    """
    if not concerns_us(model, call):
        return original(**call), []
    if earlier_prompt(call) or (call.get("cache") is not None and call["cache"].get_seq_length()):
        raise InputError(f"A call with {settings.method.name!r} cannot go on from a KV cache; give the whole prompt.")
    if setting(model, call, "prefill_chunk_size"):
        raise InputError(
            f"A call with {settings.method.name!r} cannot read its prompt in chunks; leave prefill_chunk_size out."
        )
    ids = call["input_ids"].cpu()
    check_ids(model, ids)
    output = encoded_images(call)
    if output is None:
        output = encode(model, call)
    mask, _ = mask_and_filler(model, call)
    sizes = {name: call[name].cpu() for name in SIZES if isinstance(call.get(name), torch.Tensor)}
    images = Images.of(model, output, {**call, **sizes, "input_ids": ids})
    is_image = ids == model.config.image_token_id
    rows = rows_of(is_image.sum(dim=1).tolist(), [len(tokens) for tokens in images.features])
    columns = is_image.nonzero()[:, 1].split([len(tokens) for tokens in images.features])
    patches = [where[places[:, 0] >= 0] for where, places in zip(columns, images.coords, strict=True)]
    budgets = [settings.budget(len(where)) for where in patches]
    new = {name: value for name, value in call.items() if name != "pixel_values"} | {"attention_mask": mask}
    new |= CallersPrompt(call["input_ids"], ids.shape[1]).translate(model, call)
    new["mm_encoder_outputs"] = (call.get("mm_encoder_outputs") or {}) | {"image": output}
    if all(budget == len(where) for budget, where in zip(budgets, patches, strict=True)):
        orders, answer = [torch.arange(len(where), device="cpu") for where in patches], original(**new)
    else:
        with leaving(model, len(ids), list(zip(rows, patches, strict=True)), budgets) as watch:
            answer = original(**new)
        orders = watch.orders
    layers = model.config.get_text_config(decoder=True).num_hidden_layers
    return answer, [
        _result(model, places[places[:, 0] >= 0], Selection.of(order, budget), settings.method.name, layers)
        for places, order, budget in zip(images.coords, orders, budgets, strict=True)
    ]


def _result(
    model: PreTrainedModel, places: torch.Tensor, selection: Selection, method: str, layers: int
) -> PruneResult:
    total, kept = len(places), len(selection.chosen)
    return PruneResult(
        coords=places,
        selection=selection,
        nouns=[],
        tokens_kept=kept,
        took=Span(device_of(model)).end(),
        method=method,
        average=(min(LAYER, layers) * total + max(0, layers - LAYER) * kept) / layers,
        remarks=(
            f"Layers 1 to {LAYER} read all {total} tokens. The others are masked, not cut out: no time is saved.",
        ),
    )
