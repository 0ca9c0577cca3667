"""What a choice refuses, in the same words wherever it is made."""

import torch

from resprune.errors import InputError
from resprune.selection.selection import checked_budget


def refuse(features: bool = False, weights: bool = False, first: bool = False) -> None:
    """Say what is wrong with the values.

    Raises:
        InputError: if something is.
    """
    if features:
        raise InputError("The features hold NaN or infinity, or are too large for float32; give finite values.")
    if weights:
        raise InputError("The weights must be finite and not negative, and so must their products with the energies.")
    if first:
        raise InputError("The tokens to come first must be tokens of the image, none of them twice.")


def checked(k: int, tokens: int, weights: torch.Tensor | None, first: torch.Tensor | None) -> int:
    """How many tokens a budget of ``k`` keeps, after a look at what is known without reading a value.

    Raises:
        InputError: if ``k`` is below 1, ``weights`` are not ``[N]``, or ``first`` is not ``[P]`` int64.
    """
    if weights is not None and weights.shape != (tokens,):
        raise InputError(f"There are {tokens} tokens but weights of the shape {list(weights.shape)}.")
    if first is None:
        return checked_budget(k, tokens)
    if first.ndim != 1 or first.dtype != torch.int64:
        raise InputError(f"The tokens to come first are {list(first.shape)} {first.dtype}; give [P] int64.")
    return min(max(checked_budget(k, tokens), len(first)), tokens)
