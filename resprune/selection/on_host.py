"""The greedy choice on the host: the way that is always there."""

from threading import Lock

import numpy as np
import torch

from resprune.selection.cholesky import PivotedCholesky
from resprune.selection.inputs import checked, refuse
from resprune.selection.selection import Selection

_FINISHING = Lock()  # of no selection, so that they can be copied and pickled


class GreedySelection(Selection):
    """A :class:`Selection` that has chosen the kept tokens, and ranks the others when first asked for them.

    Pruning needs ``indices`` and ``chosen`` only. Reading ``order``, ``energy`` or ``captured`` continues the same
    factorisation to its end, which at thousands of tokens takes longer than the choice did.
    """

    def __init__(
        self, factorisation: PivotedCholesky, k: int, device: torch.device | str, note: str | None = None
    ) -> None:
        factorisation.advance(k)
        chosen = torch.from_numpy(factorisation.ranked()[:k])
        self.__dict__.update(  # past the setters that a frozen dataclass refuses
            indices=chosen.sort().values.to(device),
            note=note,
            _chosen=chosen.to(device),
            _factorisation=factorisation,
        )

    chosen = property(lambda self: self._chosen)
    order = property(lambda self: self._all[0])
    energy = property(lambda self: self._all[1])
    captured = property(lambda self: self._all[2])

    @property
    def _all(self) -> list[torch.Tensor]:
        with _FINISHING:
            if "_ranked" not in self.__dict__:
                arrays = self.__dict__.pop("_factorisation").finish()
                self.__dict__["_ranked"] = [torch.from_numpy(array).to(self.indices.device) for array in arrays]
        return self._ranked


def select_on_host(
    gram: np.ndarray,
    k: int,
    weights: torch.Tensor | None,
    first: torch.Tensor | None,
    device: torch.device | str,
    note: str | None = None,
) -> GreedySelection:
    """:func:`resprune.selection.select` for a matrix on the host; ``note`` is for the user."""
    k, own = checked(k, len(gram), weights, first), gram.diagonal()
    refuse(features=not np.isfinite(own).all())
    if weights is None:
        host = np.ones(len(gram), np.float32)
    else:
        host = weights.detach().to("cpu", torch.float32).numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            scores = host * own
        refuse(weights=not (np.isfinite(scores).all() and (host >= 0).all()))
    ahead = [] if first is None else first.tolist()
    refuse(first=len(set(ahead)) < len(ahead) or not set(ahead) <= set(range(len(gram))))
    return GreedySelection(PivotedCholesky(gram, host, ahead), k, device, note)
