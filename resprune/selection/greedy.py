"""Greedy subspace expansion: the tokens that span most of what all of them hold. It knows no model.

For a chosen set S with span ``P_S`` the residual energy of a token is ``E_S(v) = ||v - P_S v||^2``. Starting from
nothing, the token with the largest ``w_i * E_S(v_i)`` joins S until the budget is spent (ResPrune, arXiv 2603.21105).
Since scaling a vector does not change a span, this is column-pivoted QR of ``(diag(sqrt w) V)^T``, and so pivoted
Cholesky of ``diag(sqrt w) V V^T diag(sqrt w)``; that in turn is greedy MAP inference of a determinantal point process
(arXiv 1709.05135), which is what CDPruner runs. One kernel serves them all.

The order is nested: what a budget of k keeps is the first k of what any larger budget keeps.
"""

from functools import cached_property

import numpy as np
import torch

from resprune.errors import InputError
from resprune.selection.cholesky import PivotedCholesky
from resprune.selection.gram import gram_matrix
from resprune.selection.selection import Selection, checked_budget


class GreedySelection(Selection):
    """A :class:`Selection` that has chosen the kept tokens, and ranks the others when first asked for them.

    Pruning needs ``indices`` and ``chosen`` only. Reading ``order``, ``energy`` or ``captured`` continues the same
    factorisation to its end, which at thousands of tokens takes longer than the choice did.
    """

    def __init__(self, factorisation: PivotedCholesky, k: int, device: torch.device) -> None:
        factorisation.advance(k)
        chosen = torch.from_numpy(factorisation.ranked()[:k])
        self.__dict__.update(  # past the setters that a frozen dataclass refuses
            indices=chosen.sort().values.to(device),
            _chosen=chosen.to(device),
            _factorisation=factorisation,
        )

    chosen = property(lambda self: self._chosen)
    order = property(lambda self: self._all[0])
    energy = property(lambda self: self._all[1])
    captured = property(lambda self: self._all[2])

    @cached_property
    def _all(self) -> list[torch.Tensor]:
        arrays = self.__dict__.pop("_factorisation").finish()
        return [torch.from_numpy(array).to(self.indices.device) for array in arrays]


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

    On the CPU, BLAS forms the Gram matrix with half the multiplications of a general product. On an accelerator it is
    one product there, and the ``[N, N]`` result comes to the host: a greedy step is too little work for a launch of
    its own. Leave PyTorch's float32 products exact there (its default): TF32 changes the choice.

    Raises:
        InputError: if ``k < 1``, if a value is NaN or infinite, or if ``weights`` do not fit.

    Source: arXiv 2603.21105, "greedy subspace expansion".
    """
    if features.ndim != 2 or not len(features):
        raise InputError(f"The features have the shape {list(features.shape)}; give [N, D] with at least one token.")
    return select(gram_matrix(features), k, weights, features.device)


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
    host = gram.detach().to("cpu", torch.float32, copy=True).numpy()  # a copy: the caller may change its own later
    if not np.isfinite(host).all():
        raise InputError("The Gram matrix holds NaN or infinity; give finite values.")
    return select(host, k, weights, gram.device)


def select(
    gram: np.ndarray, k: int, weights: torch.Tensor | None, device: torch.device | str = "cpu"
) -> GreedySelection:
    """:func:`greedy_from_gram` for a matrix that is on the host and stays as it is; the selection is on ``device``."""
    k = checked_budget(k, len(gram))
    own = gram.diagonal()
    if not np.isfinite(own).all():
        raise InputError("The features hold NaN or infinity, or are too large for float32; give finite values.")
    if weights is None:
        host = np.ones(len(gram), np.float32)
    else:
        host = weights.detach().to("cpu", torch.float32).numpy()
        if host.shape != own.shape:
            raise InputError(f"There are {len(gram)} tokens but weights of the shape {list(host.shape)}.")
        with np.errstate(over="ignore", invalid="ignore"):
            scores = host * own
        if not (np.isfinite(scores).all() and (host >= 0).all()):
            raise InputError(
                "The weights must be finite and not negative, and so must their products with the energies."
            )
    return GreedySelection(PivotedCholesky(gram, host), k, device)


def select_all(products, budgets, weights, firsts):  # PLACEHOLDER until the device path is merged
    return [select(gram.cpu().numpy(), k, w, "cpu") for gram, k, w in zip(products, budgets, weights, strict=True)]


def serves(device):
    return False
