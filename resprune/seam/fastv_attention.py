"""FastV (arXiv 2403.06764): visual tokens leave inside the language model, by the attention that they got.

Until layer :data:`LAYER` all tokens are read. There the attention of the prompt's last token in the layer before, the
mean over its heads, decides which stay, and from then on no token attends to the others.

They are masked, not cut out: what is answered is what FastV answers, but nothing is saved. Its own saving is that of
the later layers only, so that its cost is not that of the tokens that it keeps.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

LAYER = 2  # the first that reads fewer tokens; K of the paper
_NAME = "resprune_fastv"


@dataclass
class Watch:
    """The call under way.

    Attributes:
        rows: of the batch, before ``generate`` repeats any.
        images: for each image the row of the batch and the columns ``[n]`` of its tokens.
        budgets: how many of them stay.
        orders: for each image ``[n]`` int64 on the CPU, its tokens by attention, once that is known.
        dropped: ``[B, S]`` bool, the columns that later layers do not see, likewise.
    """

    rows: int
    images: list[tuple[int, torch.Tensor]]
    budgets: list[int]
    orders: list[torch.Tensor] = field(default_factory=list)
    dropped: torch.Tensor | None = None

    def choose(self, attention: torch.Tensor) -> None:
        """By ``[B * beams, S]`` attention of the last token."""
        attention = attention[:: len(attention) // self.rows]
        self.dropped = torch.zeros_like(attention, dtype=torch.bool)
        for (row, columns), budget in zip(self.images, self.budgets, strict=True):
            order = attention[row, columns].argsort(descending=True, stable=True)
            self.dropped[row, columns[order[budget:]]] = True
            self.orders.append(order.cpu())


_WATCH: ContextVar[Watch | None] = ContextVar("resprune_fastv", default=None)


@contextlib.contextmanager
def leaving(
    model: PreTrainedModel, rows: int, images: list[tuple[int, torch.Tensor]], budgets: list[int]
) -> Iterator[Watch]:
    """Let visual tokens leave inside ``model`` for the length of a ``with`` block with one call of ``generate``.

    Args:
        model: of a supported family.
        rows: of the batch, before ``generate`` repeats any.
        images: for each image the row of the batch and the columns ``[n]`` int64 of its visual tokens in the prompt.
        budgets: how many of them stay.
    """
    watch = Watch(rows, images, budgets)
    before = model.config.get_text_config(decoder=True)._attn_implementation
    token = _WATCH.set(watch)
    model.set_attn_implementation({"text_config": _NAME})
    try:
        yield watch
    finally:
        model.set_attn_implementation({"text_config": before})
        _WATCH.reset(token)


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    return sdpa_mask(*args, **kwargs | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    watch = _WATCH.get()
    if watch and module.layer_idx >= LAYER:
        hidden = watch.dropped.repeat_interleave(len(query) // len(watch.dropped), dim=0)
        hidden = nn.functional.pad(hidden, (0, key.shape[2] - hidden.shape[1]))
        attention_mask = attention_mask & ~hidden[:, None, None]
    elif watch and module.layer_idx == LAYER - 1 and watch.dropped is None:
        watch.choose(_last_row(query, key, attention_mask, scaling))
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


def _last_row(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """``[B, S]`` float32, how much the last token attends to each, the mean over heads."""
    asked = query[:, :, -1].unflatten(1, (key.shape[1], -1)).float()  # [B, key heads, queries of each, d]
    logits = torch.einsum("bhqd,bhsd->bhqs", asked, key.float()) * (scaling or query.shape[-1] ** -0.5)
    seen = mask[:, :, -1, None]  # [B, 1, 1, S]
    return logits.masked_fill(~seen, -torch.inf).softmax(-1).mean((1, 2))


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, _mask)
