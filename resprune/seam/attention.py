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
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_TAKE_MASKS = ("eager", "sdpa")  # attention that adds a mask of numbers
_BEYOND_SDPA = ("softcap", "s_aux")  # what a layer may ask for that SDPA lacks
_BEYOND_KERNELS = (*_BEYOND_SDPA, "position_bias")

Attended = tuple[torch.Tensor, torch.Tensor | None]


class States(NamedTuple):
    """What a layer attends with, each ``[B, heads, length, d]``; groups of query heads may share one of the others."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


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

    def masked(self, module: nn.Module, states: States, mask: torch.Tensor, **options: Any) -> Attended:
        """Attention with a mask of numbers ``[B, 1, queries, keys]``, which are added to the logits.

        It is the model's own, if that takes such a mask. Flash attention and its like take none: PyTorch's scaled dot
        product stands in for them, or the model's own code where logits are capped, which that cannot do.
        """
        return self._adding(options)(module, *states, mask, **options)

    def is_product(self, options: dict[str, Any]) -> bool:
        """Whether :meth:`masked` with these options is PyTorch's scaled dot product with a mask, and nothing else."""
        more = options.get("dropout") or any(options.get(name) is not None for name in _BEYOND_KERNELS)
        return not more and self._adding(options) is sdpa_attention_forward

    def _adding(self, options: dict[str, Any]) -> Callable[..., Attended]:
        if self.name in _TAKE_MASKS:
            return self.stock
        return self.eager if any(options.get(name) is not None for name in _BEYOND_SDPA) else sdpa_attention_forward


class Call:
    """A call under way; this one adds nothing.

    Attributes:
        config: of the model whose masks and layers are asked about; all others in the same context are left alone.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config = config
        self._wrapped: dict[tuple[str, int, int], Callable[..., Attended]] = {}  # layers look theirs up in each pass

    def wrapped(self, name: str, stock: Callable[..., Attended], eager: Callable[..., Attended]) -> Callable:
        """The function of an attention, for the length of this call."""
        key = name, id(stock), id(eager)
        if key not in self._wrapped:
            self._wrapped[key] = self._wrap(Attention(name, stock, eager))
        return self._wrapped[key]

    def ended(self) -> None:
        """Let go of what refers to this call, which then goes with all that it holds, without a garbage collector."""
        self._wrapped.clear()

    def _wrap(self, attention: Attention) -> Callable[..., Attended]:
        config, stock, ours = self.config, attention.stock, self.attend

        # The names are those of transformers, which gives the mask by its name in some layers.
        def attend(
            module: nn.Module, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
        ) -> Attended:
            if getattr(module, "config", None) is not config:
                return stock(module, query, key, value, attention_mask, **options)
            return ours(attention, module, States(query, key, value), attention_mask, **options)

        return attend

    def mask(self, stock: Callable[..., Any], options: dict[str, Any]) -> Any:
        """The mask of a forward pass, where ``stock(**options)`` is that of the model."""
        return stock(**options)

    def attend(self, attention: Attention, module: nn.Module, states: States, mask: Any, **options: Any) -> Attended:
        """What a layer gives for its states."""
        return attention.stock(module, *states, mask, **options)


_CALL: ContextVar[Call | None] = ContextVar("resprune_call", default=None)


@contextlib.contextmanager
def under_way(call: Call | None) -> Iterator[None]:
    """Let ``call`` be asked for the length of a ``with`` block, in this context only; ``None``: let none be."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
        if call is not None:
            call.ended()


_attention, _mask = AttentionInterface.get_interface, AttentionMaskInterface.__getitem__


@functools.wraps(_attention)
def _attention_for_call(self: AttentionInterface, name: str, default: Callable[..., Attended]) -> Callable:
    stock = _attention(self, name, default)
    call = _CALL.get()
    return stock if call is None else call.wrapped(name, stock, default)


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
