"""Attention with a mask of numbers as PyTorch's fused kernels take it, none of its operands copied.

``scaled_dot_product_attention`` is the door to these kernels, and refuses two things that they can do: a mask and
causality at once, so that it wants a matrix where one row will do, and computes what that hides; and, on CUDA, a mask
over keys and values that heads share, so that transformers repeats them for each head. On recent cards it also prefers
cuDNN, which makes a plan for each new length, in decoding for each token. So the kernel is called by its name, as
``torch.nn.attention.bias`` does, where PyTorch says that it takes what it is given; all else goes through the door.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch.backends.cuda import SDPAParams, can_use_efficient_attention
from torch.nn.attention import SDPBackend

from resprune.seam.attention import States
from resprune.seam.masks import aligned

_aten = torch.ops.aten


class Fused:
    """The kernels of one call; what they take is asked once for each kind of layer.

    Queries, keys and values are ``[B, heads, length, d]``. A mask is ``[B, 1, queries, keys]``; one with a single row
    for many queries is that of the last of them, and each sees what does not come after it.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple, bool] = {}
        self._for_groups = lru_cache(maxsize=4)(_for_groups)  # masks of a forward pass, each for all its layers

    def takes(self, states: States, mask: torch.Tensor) -> bool:
        """Whether there is a kernel for these; else they go through ``scaled_dot_product_attention``."""
        query, key, _ = states
        if torch.compiler.is_compiling():
            return False  # what is asked of PyTorch here would break the graph in each layer
        if query.device.type not in _KERNELS or (torch.is_grad_enabled() and query.requires_grad):
            return False
        if query.shape[1] != key.shape[1]:
            if len(query) > 1 and mask.shape[2] > 1:
                return False  # a batch of matrices would have to be copied for each head of the keys
            if query.shape[2] == 1 and query.device.type == "cpu":
                return False  # transformers gives heads that share keys to the kernel as queries: they are read once
        kind = tuple((tensor.device, tensor.dtype, tensor.shape[1], tensor.shape[3]) for tensor in states)
        kind += (mask.dtype, mask.shape[2] == 1, query.shape[2] == 1, len(query) == 1)
        if kind not in self._taken:
            same = {(tensor.device, tensor.dtype) for tensor in (*states, mask)}
            self._taken[kind] = len(same) == 1 and _taken(*self._folded(states, mask))
        return self._taken[kind]

    def __call__(self, states: States, mask: torch.Tensor, scale: float | None) -> torch.Tensor:
        """``[B, queries, heads, d]``, what the queries find."""
        (batch, heads, queries, _), shared = states.query.shape, states.key.shape[1]
        causal = queries > 1 and mask.shape[2] == 1
        folded, mask = self._folded(states, mask)
        found = _KERNELS[mask.device.type](folded, mask, scale, causal)
<<<<<<< HEAD
        # Kernels write in this order, so that nothing is copied for one query, or where no heads share.
        return found.unflatten(0, (batch, -1)).permute(0, 3, 1, 2, 4).reshape(batch, queries, heads, -1).contiguous()
=======
        # Kernels write in the order that is wanted, so that nothing is copied for one query, or where no heads share.
        if heads != shared:
            found = found.view(batch, shared, -1, queries, found.shape[-1]).permute(0, 3, 1, 2, 4)
            return found.reshape(batch, queries, heads, -1).contiguous()
        return found.transpose(1, 2).contiguous()
>>>>>>> mass

    def _folded(self, states: States, mask: torch.Tensor) -> tuple[States, torch.Tensor]:
        """With each head of the keys as a batch of its own, for the heads of the queries that share it."""
        heads, shared = states.query.shape[1], states.key.shape[1]
        if heads == shared:
            return states, mask
        query = states.query.reshape(-1, heads // shared, *states.query.shape[2:])
        key, value = (tensor.flatten(0, 1)[:, None].expand(-1, heads // shared, -1, -1) for tensor in states[1:])
        return States(query, key, value), self._for_groups(mask, shared)


def _for_groups(mask: torch.Tensor, shared: int) -> torch.Tensor:
    """``[B * shared, 1, queries, keys]``, a mask for each of the heads that keys have."""
    return mask.expand(shared, -1, -1, -1) if len(mask) == 1 else aligned(mask.repeat_interleave(shared, dim=0))


def _taken(states: States, mask: torch.Tensor) -> bool:
    if mask.device.type == "cpu":
        choice = torch._fused_sdp_choice(*states, mask, 0.0, False)
        return choice == SDPBackend.FLASH_ATTENTION.value
    return torch.version.cuda is not None and can_use_efficient_attention(SDPAParams(*states, mask, 0.0, False, False))


def _flash_on_cpu(states: States, mask: torch.Tensor, scale: float | None, causal: bool) -> torch.Tensor:
    kernel = _aten._scaled_dot_product_flash_attention_for_cpu
    return kernel(*states, 0.0, causal, attn_mask=mask, scale=scale)[0]


def _efficient_on_cuda(states: States, mask: torch.Tensor, scale: float | None, causal: bool) -> torch.Tensor:
    mask = mask.expand(*states.query.shape[:3], -1)  # a stride of 0, which the kernel takes
    return _aten._scaled_dot_product_efficient_attention(*states, mask, False, 0.0, causal, scale=scale)[0]


_KERNELS: dict[str, Callable[[States, torch.Tensor, float | None, bool], torch.Tensor]] = {
    "cpu": _flash_on_cpu,
    "cuda": _efficient_on_cuda,
}
