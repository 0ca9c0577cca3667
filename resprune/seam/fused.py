"""Attention with a mask of numbers as PyTorch's fused kernels take it, none of its operands copied.

transformers repeats keys and values that heads share for each head once there is a mask, since not every kernel takes
them grouped. Where PyTorch has one that does (cuDNN), ``scaled_dot_product_attention`` is asked for it. Elsewhere that
is a door with two locks: it refuses a mask and causality at once, so that it wants a matrix where one row will do, and
on CUDA a mask over keys and values that heads share. Then the kernel is called by its name, as
``torch.nn.attention.bias`` does, where PyTorch says that it takes what it is given; all else goes transformers' way.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch.backends.cuda import SDPAParams, can_use_efficient_attention
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from resprune.seam.attention import States
from resprune.seam.masks import aligned, square

_aten = torch.ops.aten


Kernel = Callable[[States, torch.Tensor, float | None], torch.Tensor]


class Fused:
    """The kernels of one call; which one serves is asked once for each kind of layer.

    Queries, keys and values are ``[B, heads, length, d]``. A mask is ``[B, 1, queries, keys]``; one with a single row
    for many queries is that of the last of them, and each sees what does not come after it.
    """

    def __init__(self) -> None:
        self._kernels: dict[tuple, Kernel | None] = {}
        self._for_groups = lru_cache(maxsize=4)(_for_groups)  # masks of a forward pass, each for all its layers
        self._square = lru_cache(maxsize=4)(square)

    def kernel_for(self, states: States, mask: torch.Tensor) -> Kernel | None:
        """``(states, mask, scale) -> [B, queries, heads, d]``, what the queries find; ``None`` where only
        what transformers does will do.
        """
        query = states.query
        if torch.compiler.is_compiling():
            return None  # what is asked of PyTorch here would break the graph in each layer
        if torch.is_grad_enabled() and query.requires_grad:
            return None
        (batch, heads, queries, width), shared = query.shape, states.key.shape[1]
        kind = query.device, query.dtype, mask.dtype, batch == 1, heads, shared, width, queries == 1, mask.shape[2] == 1
        if kind not in self._kernels:
            self._kernels[kind] = self._found(states, mask)
        return self._kernels[kind]

    def _found(self, states: States, mask: torch.Tensor) -> Kernel | None:
        query, key, _ = states
        grouped, matrix = query.shape[1] != key.shape[1], mask.shape[2] > 1
        if len({(tensor.device, tensor.dtype) for tensor in (*states, mask)}) > 1:
            return None
        if query.device.type == "cuda" and _has_door(states, mask):
            return self._by_door
        if query.device.type not in _KERNELS or (grouped and query.device.type == "cpu" and query.shape[2] == 1):
            return None
        if grouped and matrix and len(query) > 1:
            return None  # a batch of matrices would have to be copied for each head of the keys
        return self._by_name if _taken(*self._folded(states, mask)) else None

    def _by_door(self, states: States, mask: torch.Tensor, scale: float | None) -> torch.Tensor:
        """With a whole matrix, made once a forward pass: PyTorch chooses, and takes grouped heads as they are."""
        queries, grouped = states.query.shape[2], states.query.shape[1] != states.key.shape[1]
        if mask.shape[2] < queries:
            mask = self._square(mask, queries)
        found = scaled_dot_product_attention(*states, attn_mask=mask, scale=scale, enable_gqa=grouped)
        return found.transpose(1, 2).contiguous()

    def _by_name(self, states: States, mask: torch.Tensor, scale: float | None) -> torch.Tensor:
        (batch, heads, queries, _), shared = states.query.shape, states.key.shape[1]
        causal = queries > 1 and mask.shape[2] == 1
        folded, mask = self._folded(states, mask)
        found = _KERNELS[mask.device.type](folded, mask, scale, causal)
        # Kernels write in the order that is wanted, so that nothing is copied for one query, or where no heads share.
        if heads != shared:
            found = found.view(batch, shared, -1, queries, found.shape[-1]).permute(0, 3, 1, 2, 4)
            return found.reshape(batch, queries, heads, -1).contiguous()
        return found.transpose(1, 2).contiguous()

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


def _has_door(states: States, mask: torch.Tensor) -> bool:
    """Whether ``scaled_dot_product_attention`` has better than plain arithmetic for these, heads in groups included.

    cuDNN has, on recent cards. Measured on an H200 (``python -m benchmarks.attention``), it takes as long as without a
    mask, a third of what repeated keys and values take.
    """
    matrix = mask.expand(-1, -1, states.query.shape[2], -1)
    choice = torch._fused_sdp_choice(
        *states, matrix, 0.0, False, enable_gqa=states.query.shape[1] != states.key.shape[1]
    )
    return choice not in (SDPBackend.MATH.value, SDPBackend.ERROR.value)


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
