"""Masks of numbers, which attention adds to its logits, in the layout that PyTorch's kernels take as it is."""

from typing import Any

import torch
from torch.nn.functional import pad
from transformers.masking_utils import prepare_padding_mask, sdpa_mask

ALIGNED = 16  # kernels want rows that begin at multiples of this many numbers, and copy others in each layer
_EVERYTHING = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}


def seen(options: dict[str, Any], **changed: Any) -> torch.Tensor:
    """``[B, 1, queries, keys]`` bool, what a mask with these options lets a query see."""
    return sdpa_mask(**options | _EVERYTHING | changed)


def seen_by_the_last(options: dict[str, Any]) -> torch.Tensor | None:
    """``[B, 1, 1, keys]`` bool, what the last query sees where causality tells the rest; ``None`` where it does not.

    The rest is told if each query sees what the last one sees and what does not come after it. Of such masks there is
    one row to make, whatever the number of queries. transformers says where its own mask may be left out for that
    reason; offsets on the device, as those of static caches, are not waited for.
    """
    start, keys, first, near = (options.get(n) for n in ("q_offset", "kv_length", "kv_offset", "local_size"))
    if not (options.get("allow_is_causal_skip") and isinstance(start, int) and isinstance(first, int)):
        return None
    from_the_start, newest = start == 0, options["q_length"] == 1 and start + 1 == first + keys
    if not (from_the_start or newest) or (near is not None and keys >= near):
        return None
    known = options.get("attention_mask")
    if known is None:
        return torch.ones(options["batch_size"], 1, 1, keys, dtype=torch.bool, device=options["device"])
    known = prepare_padding_mask(known.bool(), keys, first)
    return known[:, None, None, first : first + keys]


def added(visible: torch.Tensor, bias: torch.Tensor | float, dtype: torch.dtype) -> torch.Tensor:
    """The mask of numbers that adds ``bias`` to what is ``visible`` and hides the rest; its rows are aligned."""
    bias = torch.as_tensor(bias, dtype=dtype, device=visible.device)
    return aligned(torch.where(visible, bias, torch.finfo(dtype).min))


def aligned(mask: torch.Tensor) -> torch.Tensor:
    """A copy of a mask ``[..., keys]`` whose rows begin at multiples of :data:`ALIGNED`, as ``pad_bias`` makes them."""
    keys = mask.shape[-1]
    return pad(mask, (0, -keys % ALIGNED))[..., :keys]


def square(row: torch.Tensor, queries: int) -> torch.Tensor:
    """The mask ``[B, 1, queries, keys]`` that one row ``[B, 1, 1, keys]`` tells, see :func:`seen_by_the_last`."""
    before = torch.ones(queries, row.shape[-1], dtype=torch.bool, device=row.device).tril()
    return added(before, row, row.dtype)
