"""Mass: a kept token carries the weight of those it stands for.

Dropping a token drops its share of every softmax too. If m tokens were the same and one of them is kept, adding
``log(m)`` to the attention logit of the one gives what all of them gave. So each dropped token is counted to the kept
one nearest to it, if the two are alike enough, and every attention layer adds the logarithm of that count. ToMe (arXiv
2210.09461) calls it proportional attention; ERA (arXiv 2606.31982) repairs large vision-language models with it. It is
not part of the ResPrune paper. That the two must be alike is ours: in a picture of forty things of which eight tokens
stay, most things have none left, and counting them to one of another thing makes the model see more of that.

It needs no patched code: transformers looks attention functions and mask functions up by name in two registries. For
the length of a call the language model goes by a name of ours, whose mask holds the bias.

Two routes give the same: a bias in the mask, or one more number of each query and key. At the width of a 7B model on a
CPU (``python -m benchmarks.latency``) both cost a prefill about the same, within a few per cent of none, and the mask
is the cheaper in decoding, where the other widens every cached key again at each step: it is the default. The other
leaves the mask alone, for kernels that take none.

The mask's route also keeps sliding windows true to the caller's prompt: a window of 1024 columns is one of 1024 that
were written, not of those that were sent.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from resprune.seam.shorten import Shortened

MASKED = "resprune_mass"  # the bias is part of the mask
AUGMENTED = "resprune_mass_augmented"  # the bias is one more dimension of queries and keys
_WIDTH = 8  # by how much that widens a head: kernels want a multiple of it


@dataclass
class _Call:
    """What the masks of the call under way need.

    Attributes:
        bias: ``[B, L]`` float32, by column of the sequence that is sent; what comes after has none.
        windowed: the prompt of which sliding windows count the columns; ``None`` where they count what is sent.
        offsets: which column each length of keys begins with, as the masks of the latest forward pass had it.
        places: with which column queries and keys begin, by the lengths of both, likewise.
    """

    bias: torch.Tensor
    windowed: Shortened | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    places: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)

    def of_keys(self, rows: int, length: int, offset: int, like: dict[str, Any]) -> torch.Tensor:
        """``[rows, 1, 1, length]`` for the keys from column ``offset`` on, of the type and device ``like`` says."""
        bias = self.bias.repeat_interleave(rows // len(self.bias), dim=0)[:, offset : offset + length]
        return pad(bias, (0, length - bias.shape[1]))[:, None, None].to(**like)

    def beyond(self, window: int, shape: torch.Size) -> torch.Tensor:
        """For a mask ``[B, 1, queries, keys]``, whether a key lies before a query's window."""
        starts = [int(start) for start in self.places[shape[-2:]]]
        columns = self.windowed.repeated(shape[0]).in_cache(max(s + n for s, n in zip(starts, shape[-2:], strict=True)))
        asking, asked = (columns[:, s : s + n] for s, n in zip(starts, shape[-2:], strict=True))
        return (asked[:, None] <= asking[:, :, None] - window)[:, None]


_CALL: ContextVar[_Call | None] = ContextVar("resprune_mass", default=None)


@contextlib.contextmanager
def carried(
    model: PreTrainedModel, bias: torch.Tensor | None, route: str = MASKED, shortened: Shortened | None = None
) -> Iterator[None]:
    """Let the language model of ``model`` add ``bias`` to its attention logits for the length of a ``with`` block.

    Its attention is PyTorch's scaled dot product for that time, and afterwards what it was.

    Args:
        model: of a supported family.
        bias: ``[B, L]`` float32, the logarithm of the mass of each column that is sent, 0 where it is 1; ``None``
            changes nothing.
        route: :data:`MASKED` or :data:`AUGMENTED`.
        shortened: the prompt that is sent, whose columns sliding windows are to count; by the mask only.
    """
    windowed = shortened if shortened is not None and shortened.lacks() and _has_windows(model) else None
    if bias is None and windowed is None:
        yield
        return
    if bias is None:
        bias = torch.zeros(windowed.columns.shape)
    before = model.config.get_text_config(decoder=True)._attn_implementation
    token = _CALL.set(_Call(bias.to(model.device), windowed and windowed.to(model.device)))
    model.set_attn_implementation({"text_config": route})
    try:
        yield
    finally:
        model.set_attn_implementation({"text_config": before})
        _CALL.reset(token)


def _has_windows(model: PreTrainedModel) -> bool:
    return getattr(model.config.get_text_config(decoder=True), "sliding_window", None) is not None


def _mask_with_bias(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """SDPA's mask with the bias in it, ``[B, 1, queries, keys]`` of the model's type."""
    call = _CALL.get()
    if call is None:
        return sdpa_mask(*args, **kwargs)
    seen = sdpa_mask(*args, **kwargs | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})
    call.places[seen.shape[-2:]] = kwargs.get("q_offset", 0), kwargs.get("kv_offset", 0)
    dtype = kwargs["dtype"]
    bias = call.of_keys(len(seen), seen.shape[-1], kwargs.get("kv_offset", 0), {"dtype": dtype, "device": seen.device})
    return torch.where(seen, bias, torch.finfo(dtype).min)


def _attend_masked(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA; where the layer has a sliding window, one of the caller's columns."""
    call, window = _CALL.get(), getattr(module, "sliding_window", None)
    if call and call.windowed is not None and window:
        beyond = call.beyond(window, attention_mask.shape)
        attention_mask = attention_mask.masked_fill(beyond, torch.finfo(attention_mask.dtype).min)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def _mask_without_bias(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """SDPA's mask as ever; where it is not needed there is none, and its fastest kernels serve."""
    if call := _CALL.get():
        call.offsets[kwargs["kv_length"]] = kwargs.get("kv_offset", 0)
    return sdpa_mask(*args, **kwargs)


def _attend_augmented(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in which query times key gives the bias as well: it is one more number of each key."""
    if call := _CALL.get():
        rows, length, width = key.shape[0], key.shape[2], key.shape[3]
        scaling = width**-0.5 if scaling is None else scaling
        bias = call.of_keys(rows, length, call.offsets[length], {"dtype": key.dtype, "device": key.device})[:, 0, 0]
        query, key, value = (pad(states, (0, _WIDTH)) for states in (query, key, value))
        query[..., width] = 1 / scaling
        key[..., width] = bias[:, None]
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return output[..., :width], None
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


AttentionInterface.register(MASKED, _attend_masked)
AttentionMaskInterface.register(MASKED, _mask_with_bias)
AttentionInterface.register(AUGMENTED, _attend_augmented)
AttentionMaskInterface.register(AUGMENTED, _mask_without_bias)
