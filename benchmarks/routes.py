"""The ways to one layer's attention with mass, all to the same answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from resprune.device import default_dtype
from resprune.seam import Fused, States, added, aligned, square

WIDTH = 128  # of a head


@dataclass(frozen=True)
class Case:
    """One layer's operands.

    Attributes:
        states: queries, keys and values, ``[B, heads, length, d]``.
        row: ``[B, 1, 1, keys]``, the bias of each key.
        mask: ``[B, 1, queries, keys]``, the bias and causality, with aligned rows.
    """

    states: States
    row: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, heads: int, shared: int, queries: int, keys: int, batch: int, device: torch.device) -> "Case":
        """Random ones; where there is one query, the keys are those of the cache."""
        generator, options = torch.Generator().manual_seed(keys), {"device": device, "dtype": default_dtype(device)}
        query = torch.randn(batch, queries, heads, WIDTH, generator=generator).to(**options).transpose(1, 2)
        key, value = (torch.randn(batch, shared, keys, WIDTH, generator=generator).to(**options) for _ in range(2))
        bias = torch.randint(1, 30, (batch, 1, 1, keys), generator=generator).log().to(device)
        row = added(torch.ones_like(bias, dtype=torch.bool), bias, options["dtype"])
        return cls(States(query, key, value), row, row if queries == 1 else square(row, queries))

    def expected(self) -> torch.Tensor:
        """The attention in float64, ``[B, queries, heads, d]``."""
        query, key, value = (states.double() for states in _repeated(self.states))
        return scaled_dot_product_attention(query, key, value, self.mask.double()).transpose(1, 2)


def _repeated(states: States) -> States:
    query, key, value = states
    groups = query.shape[1] // key.shape[1]
    if groups == 1:
        return states
    return States(query, *(t[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for t in (key, value)))


def _ordered(found: torch.Tensor) -> torch.Tensor:
    return found.transpose(1, 2).contiguous()


def plain(case: Case) -> torch.Tensor:
    """What the same layer does without mass."""
    query, key, value = case.states
    grouped = query.shape[1] != key.shape[1]
    causal = query.shape[2] > 1
    return _ordered(scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped))


def repeated(case: Case, mask: torch.Tensor) -> torch.Tensor:
    """Keys and values repeated for all heads."""
    return _ordered(scaled_dot_product_attention(*_repeated(case.states), mask))


def grouped(case: Case) -> torch.Tensor:
    """Keys and values as they are, and PyTorch chooses."""
    return _ordered(scaled_dot_product_attention(*case.states, case.mask, enable_gqa=True))


def queries_folded(case: Case, mask: torch.Tensor) -> torch.Tensor:
    """Heads that share a key's behind one another, as so many more queries."""
    query, key, value = case.states
    batch, heads, queries, width = query.shape
    folded = query.reshape(batch, key.shape[1], -1, width)
    return _ordered(scaled_dot_product_attention(folded, key, value, mask).reshape(batch, heads, queries, width))


def cudnn(case: Case, mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """cuDNN by its name, which takes grouped heads."""
    mask = mask.expand(*case.states.query.shape[:3], -1)
    kernel = torch.ops.aten._scaled_dot_product_cudnn_attention
    return _ordered(kernel(*case.states, mask, False, 0.0, causal)[0])


def ours(case: Case, fused: Fused, mask: torch.Tensor) -> torch.Tensor:
    """What the library does; with one row, or with a matrix."""
    kernel = fused.kernel_for(case.states, mask)
    if kernel is None:
        raise RuntimeError("PyTorch has no kernel for it")
    return kernel(case.states, mask, None)


def routes(case: Case) -> dict[str, Callable[[], torch.Tensor]]:
    """Each way to the same answer, the first apart; masks are made once a forward pass and are not measured."""
    loose = pad(case.mask, (0, 1 - case.mask.shape[-1] % 2))[..., : case.mask.shape[-1]]  # rows begin at odd numbers
    query, key, _ = case.states
    grown = aligned(case.mask.repeat(1, 1, query.shape[1] // key.shape[1], 1))
    causal, kernels = query.shape[2] > 1, Fused()
    found = {
        "without mass": partial(plain, case),
        "repeated, rows not aligned": partial(repeated, case, loose),
        "repeated, rows aligned": partial(repeated, case, case.mask),
        "grouped, PyTorch's choice": partial(grouped, case),
        "queries folded": partial(queries_folded, case, grown),
        "ours, matrix": partial(ours, case, kernels, case.mask),
        "ours, one row": partial(ours, case, kernels, case.row),
    }
    if query.device.type == "cuda":
        found |= {
            "cuDNN, matrix": partial(cudnn, case, case.mask, False),
            "cuDNN, one row": partial(cudnn, case, case.row, causal),
        }
    return found
