"""FastV (arXiv 2403.06764): visual tokens leave inside the language model, by the attention that they got.

Until layer :data:`LAYER` all tokens are read. There the attention of the prompt's last token in the layer before, the
mean over its heads, decides which stay, and from then on no token attends to the others.

They are masked, not cut out: what is answered is what FastV answers, but nothing is saved. Its own saving is that of
the later layers only, so that its cost is not that of the tokens that it keeps.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import PreTrainedConfig, PreTrainedModel

from resprune.device import as_written
from resprune.seam.attention import Attended, Attention, Call, States, under_way
from resprune.seam.masks import added, aligned, seen

LAYER = 2  # the first that reads fewer tokens; K of the paper


class Watch(Call):
    """A call whose later layers see fewer tokens.

    Args:
        config: of the language model.
        rows: of the batch, before ``generate`` repeats any.
        images: for each image the row of the batch and the columns ``[n]`` of its tokens.
        budgets: how many of them stay.

    Attributes:
        orders: for each image ``[n]`` int64 on the CPU, its tokens by attention, once that is known.
    """

    def __init__(
        self, config: PreTrainedConfig, rows: int, images: list[tuple[int, torch.Tensor]], budgets: list[int]
    ) -> None:
        super().__init__(config)
        self.orders: list[torch.Tensor] = []
        self._rows, self._images, self._budgets = rows, images, budgets
        self._dropped: torch.Tensor | None = None  # [B, S] bool, the columns that later layers do not see, once known
        self._without = lru_cache(maxsize=4)(_without)  # the masks of a forward pass, each for all later layers
        self._offsets: dict[int, int] = {}  # with which column as many keys begin, as the latest masks had it

    def mask(self, stock: Callable[..., Any], options: dict[str, Any]) -> torch.Tensor:
        self._offsets[options["kv_length"]] = int(options.get("kv_offset", 0))
        return added(seen(options), 0.0, options["dtype"])

    def attend(
        self, attention: Attention, module: nn.Module, states: States, mask: torch.Tensor, **options: Any
    ) -> Attended:
        if module.layer_idx >= LAYER:
            mask = self._without(mask, self._dropped, self._offsets[mask.shape[-1]])
        elif module.layer_idx == LAYER - 1 and self._dropped is None:
            with as_written(mask.device):
                self._choose(_last_row(states, mask, options.get("scaling"), options.get("softcap")))
        return attention.masked(module, states, mask, **options)

    def _choose(self, attention: torch.Tensor) -> None:
        """By ``[B * beams, S]`` attention of the last token."""
        attention = attention[:: len(attention) // self._rows]
        self._dropped = torch.zeros_like(attention, dtype=torch.bool)
        for (row, columns), budget in zip(self._images, self._budgets, strict=True):
            columns = columns.to(attention.device)
            order = attention[row, columns].argsort(descending=True, stable=True)
            self._dropped[row, columns[order[budget:]]] = True
            self.orders.append(order.cpu())


@contextlib.contextmanager
def leaving(
    model: PreTrainedModel, rows: int, images: list[tuple[int, torch.Tensor]], budgets: list[int]
) -> Iterator[Watch]:
    """Let visual tokens leave inside ``model`` for the length of a ``with`` block with one call of ``generate``.

    That holds for forward passes in this context; other threads may use the model meanwhile, and nothing of it changes.

    Args:
        model: of a supported family.
        rows: of the batch, before ``generate`` repeats any.
        images: for each image the row of the batch and the columns ``[n]`` int64 of its visual tokens in the prompt.
        budgets: how many of them stay.
    """
    watch = Watch(model.config.get_text_config(decoder=True), rows, images, budgets)
    with under_way(watch):
        yield watch


def _without(mask: torch.Tensor, dropped: torch.Tensor, offset: int) -> torch.Tensor:
    """The mask ``[B, 1, queries, keys]`` that hides the ``dropped [B, S]`` too, whose keys begin with an offset."""
    rows, length = len(mask), mask.shape[-1]
    dropped = dropped.to(mask.device)[:, offset:][:, :length]
    hidden = pad(dropped, (0, length - dropped.shape[1])).repeat_interleave(rows // len(dropped), dim=0)
    return aligned(mask.masked_fill(hidden[:, None, None], torch.finfo(mask.dtype).min))


def _last_row(states: States, mask: torch.Tensor, scaling: float | None, softcap: float | None) -> torch.Tensor:
    """``[B, S]`` float32, how much the last token attends to each, the mean over heads."""
    query, key, _ = states
    asked = query[:, :, -1].unflatten(1, (key.shape[1], -1)).float()  # [B, key heads, queries of each, d]
    logits = torch.einsum("bhqd,bhsd->bhqs", asked, key.float()) * (scaling or query.shape[-1] ** -0.5)
    if softcap is not None:
        logits = softcap * (logits / softcap).tanh()
    visible = mask[:, :, -1, None] == 0  # [B, 1, 1, S]
    return logits.masked_fill(~visible, -torch.inf).softmax(-1).mean((1, 2))
