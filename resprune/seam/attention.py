"""What a call adds to the attention of its model: it travels with the call, and nothing of the model is changed.

transformers looks up by name, in each forward pass, how a model masks and how its layers attend. Both look-ups come by
here, from the import of this module on. Without a call of ours under way in the same context they give what they always
gave; with one, the call is asked first. So two threads may generate with one model, and a model is what it is, whatever
attention it was loaded with: no configuration changes, not for an instant.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_TAKE_MASKS = ("eager", "sdpa")  # attention that adds a mask of numbers
_BEYOND_SDPA = ("softcap", "s_aux")  # what a layer may ask for that SDPA lacks
_EVERYTHING = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}

Attended = tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True)
class Attention:
    """How a layer of a model attends.

    Attributes:
        name: under which the model looked it up.
        stock: the function that it found.
        eager: the one that the model's own code has.
    """

    name: str
    stock: Callable[..., Attended]
    eager: Callable[..., Attended]

    def masked(self, module: nn.Module, *states: torch.Tensor, mask: torch.Tensor, **options: Any) -> Attended:
        """Attention with a mask of numbers ``[B, 1, queries, keys]``, which are added to the logits.

        It is the model's own, if that takes such a mask. Flash attention and its like take none: PyTorch's scaled dot
        product stands in for them, or the model's own code where logits are capped, which that cannot do.
        """
        if self.name in _TAKE_MASKS:
            attend = self.stock
        elif any(options.get(name) is not None for name in _BEYOND_SDPA):
            attend = self.eager
        else:
            attend = sdpa_attention_forward
        return attend(module, *states, mask, **options)


class Call:
    """A call under way; this one adds nothing.

    Attributes:
        config: of the model whose masks and layers are asked about; all others in the same context are left alone.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config = config

    def mask(self, stock: Callable[..., Any], options: dict[str, Any]) -> Any:
        """The mask of a forward pass, where ``stock(**options)`` is that of the model."""
        return stock(**options)

    def attend(
        self,
        attention: Attention,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Any,
        **options: Any,
    ) -> Attended:
        """What a layer gives for queries, keys and values of ``[B, heads, length, d]``."""
        return attention.stock(module, query, key, value, mask, **options)


_CALL: ContextVar[Call | None] = ContextVar("resprune_call", default=None)


@contextlib.contextmanager
def under_way(call: Call | None) -> Iterator[None]:
    """Let ``call`` be asked for the length of a ``with`` block, in this context only; ``None``: let none be."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def seen(options: dict[str, Any], **changed: Any) -> torch.Tensor:
    """``[B, 1, queries, keys]`` bool, what a mask with these options lets a query see."""
    return sdpa_mask(**options | _EVERYTHING | changed)


def added(visible: torch.Tensor, bias: torch.Tensor | float, dtype: torch.dtype) -> torch.Tensor:
    """The mask of numbers that adds ``bias`` to what is ``visible`` and hides the rest."""
    bias = torch.as_tensor(bias, dtype=dtype, device=visible.device)
    return torch.where(visible, bias, torch.finfo(dtype).min)


_attention, _mask = AttentionInterface.get_interface, AttentionMaskInterface.__getitem__


@functools.wraps(_attention)
def _attention_for_call(self: AttentionInterface, name: str, default: Callable[..., Attended]) -> Callable:
    stock = _attention(self, name, default)
    if (call := _CALL.get()) is None:
        return stock
    attention = Attention(name, stock, default)

    def attend(module: nn.Module, *states: Any, **options: Any) -> Attended:
        if getattr(module, "config", None) is not call.config:
            return stock(module, *states, **options)
        return call.attend(attention, module, *states, **options)

    return attend


@functools.wraps(_mask)
def _mask_for_call(self: AttentionMaskInterface, name: str) -> Callable:
    stock = _mask(self, name)
    if (call := _CALL.get()) is None:
        return stock

    def mask(*sizes: int, **options: Any) -> Any:
        if options.get("config") is not call.config:
            return stock(*sizes, **options)
        return call.mask(stock, options)

    return mask


AttentionInterface.get_interface = _attention_for_call
AttentionMaskInterface.__getitem__ = _mask_for_call
