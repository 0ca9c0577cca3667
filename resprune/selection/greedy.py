"""Greedy subspace expansion: the tokens that span most of what all of them hold. It knows no model.

For a chosen set S with span ``P_S`` the residual energy of a token is ``E_S(v) = ||v - P_S v||^2``. Starting from
nothing, the token with the largest ``w_i * E_S(v_i)`` joins S until the budget is spent (ResPrune, arXiv 2603.21105).
Since scaling a vector does not change a span, this is column-pivoted QR of ``(diag(sqrt w) V)^T``, and so pivoted
Cholesky of ``diag(sqrt w) V V^T diag(sqrt w)``; that in turn is greedy MAP inference of a determinantal point process
(arXiv 1709.05135), which is what CDPruner runs. One kernel serves them all.

The order is nested: what a budget of k keeps is the first k of what any larger budget keeps.
"""

from collections.abc import Sequence

import numpy as np
import torch

from resprune.errors import InputError
from resprune.selection.gram import gram_matrix, inner_products
from resprune.selection.on_device import NO_MEMORY, select_on_device, serves
from resprune.selection.on_host import select_on_host
from resprune.selection.selection import Selection


def greedy_subspace(features: torch.Tensor, k: int, weights: torch.Tensor | None = None) -> Selection:
    """Keep the ``k`` tokens that greedy subspace expansion chooses.

    Args:
        features: ``[N, D]`` floating point, on any device; computed in float32 whatever the dtype.
        k: tokens to keep, at least 1; more than N keeps all.
        weights: ``[N]``, non-negative importance of each token (``g(r_i)`` in the paper), 1 where not given.

    Returns:
        A selection on the device of ``features``. Ties go to the lowest index. Once what is left of every token is
        rounding, as with duplicates or with k > D, the rest follows by weight, largest first, then by index.

    Accuracy: rounding in the float32 Gram matrix is about 1e-6 of a token's own energy, so residuals that differ by
    less than that may be chosen in either order.

    On the CPU, BLAS forms the Gram matrix with half the multiplications of a general product. On CUDA it is one product
    there, and one launch makes all choices: nothing is waited for but what is read. What that takes beside the features
    are the ``[N, N]`` matrix and the ``[N, k]`` factor in float32. On other accelerators the matrix comes to the host.

    Raises:
        InputError: if ``k < 1``, if a value is NaN or infinite, or if ``weights`` do not fit. On CUDA, values are told
            of by :meth:`Selection.check`, or when ``order``, ``energy`` or ``captured`` are read.

    Source: arXiv 2603.21105, "greedy subspace expansion".
    """
    if features.ndim != 2 or not len(features):
        raise InputError(f"The features have the shape {list(features.shape)}; give [N, D] with at least one token.")
    if not serves(features.device):
        return select(gram_matrix(features), k, weights, features.device)
    try:
        return select(inner_products(features), k, weights)
    except torch.OutOfMemoryError:  # for the matrix
        return select_on_host(gram_matrix(features.cpu()), k, weights, None, features.device, NO_MEMORY)


def greedy_from_gram(gram: torch.Tensor, k: int, weights: torch.Tensor | None = None) -> Selection:
    """:func:`greedy_subspace` for tokens of which only the inner products are known.

    Args:
        gram: ``[N, N]`` symmetric positive semi-definite, float32 or better: bfloat16 would change most of the choice.
        k: tokens to keep, at least 1; more than N keeps all.
        weights: ``[N]``, non-negative, 1 where not given.

    Returns:
        A selection on the device of ``gram``.

    Raises:
        InputError: if ``gram`` is not square, or for the reasons of :func:`greedy_subspace`.
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram):
        raise InputError(f"The Gram matrix has the shape {list(gram.shape)}; give [N, N] with at least one token.")
    if serves(gram.device):
        own = gram.detach().to(torch.float32, copy=True)  # the caller may change its own later
        # A number times 0 is 0, what is none is NaN: on the diagonal, where the choice looks for it.
        own.diagonal().add_(sum(extreme * 0 for extreme in own.aminmax()))
        return select(own, k, weights)
    host = gram.detach().to("cpu", torch.float32, copy=True).numpy()
    if not np.isfinite(host).all():
        raise InputError("The Gram matrix holds NaN or infinity; give finite values.")
    return select(host, k, weights, gram.device)


def select(
    gram: np.ndarray | torch.Tensor,
    k: int,
    weights: torch.Tensor | None,
    device: torch.device | str | None = None,
    first: torch.Tensor | None = None,
) -> Selection:
    """:func:`greedy_from_gram` for a matrix that stays as it is and is finite wherever its diagonal is.

    Args:
        gram: ``[N, N]`` float32, on the host or on an accelerator, where the choice is made then if it can be.
        k: tokens to keep, those that come first included; where these are more, they are what is kept.
        weights: ``[N]``, non-negative, 1 where not given.
        device: of the selection; that of ``gram`` where not given.
        first: ``[P]`` int64, tokens that come first whatever their energy, in this order, none twice. Their ``energy``
            is infinite and their ``captured`` 0: what follows tells of the energy that they leave.

    Raises:
        InputError: for the reasons of :func:`greedy_subspace`, or if ``first`` holds what is no token, or one twice.
    """
    if isinstance(gram, torch.Tensor):
        if serves(gram.device):
            return select_on_device([gram], [k], [weights], [first])[0]
        device = gram.device if device is None else device
        gram = gram.detach().float().cpu().numpy()
    return select_on_host(gram, k, weights, first, device or "cpu")


def select_all(
    grams: Sequence[torch.Tensor],
    budgets: Sequence[int],
    weights: Sequence[torch.Tensor | None],
    firsts: Sequence[torch.Tensor | None],
) -> list[Selection]:
    """:func:`select` for the matrices of several images on one device: on an accelerator in one launch."""
    if grams and serves(grams[0].device):
        return select_on_device(grams, budgets, weights, firsts)
    asked = zip(grams, budgets, weights, firsts, strict=True)
    return [select(gram, k, scale, None, first) for gram, k, scale, first in asked]
