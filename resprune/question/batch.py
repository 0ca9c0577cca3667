"""Prompts made one by one, as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from transformers import BatchFeature, PreTrainedTokenizerBase


def collate(inputs: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase) -> BatchFeature:
    """One batch of what :func:`build_inputs` made for several questions.

    A processor could make it at once, but not keep the special tokens that users type text. Prompts are padded on the
    left, pictures after their pixels and tiles with zeros, as the families' image processors do; their sizes, grids
    and masks tell the model what is padding.

    Args:
        inputs: each of one prompt, of the same processor.
        tokenizer: of that processor; its token for padding is what masked columns hold.

    Returns:
        ``input_ids``, ``attention_mask`` and all that goes with the columns of prompts as ``[B, S]``, S the longest;
        the rest one after the other.
    """
    from transformers import BatchFeature  # here: the methods are known without it

    lengths = [len(one["input_ids"][0]) for one in inputs]
    filler = tokenizer.pad_token_id or 0  # masked, whatever it is
    batch = {}
    for name in inputs[0]:
        values = [one[name] for one in inputs]
        if all(value.shape == (1, length) for value, length in zip(values, lengths, strict=True)):
            fill = filler if name == "input_ids" else 0
            values = [
                pad(value, (max(lengths) - length, 0), value=fill)
                for value, length in zip(values, lengths, strict=True)
            ]
        batch[name] = torch.cat(_of_one_shape(values))
    return BatchFeature(batch)


def _of_one_shape(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same, with zeros at the end of each dimension but the first."""
    most = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    lacking = [[size - own for size, own in zip(most, value.shape[1:], strict=True)] for value in values]
    # The last dimension comes first, each with what is added before and after.
    return [
        pad(value, [n for after in reversed(lack) for n in (0, after)])
        for value, lack in zip(values, lacking, strict=True)
    ]
