"""What a choice among the visual tokens of one image is, whoever made it."""

from dataclasses import dataclass

import torch

from resprune.errors import InputError


@dataclass(frozen=True, eq=False)
class Selection:
    """Which tokens of one image are kept, and in which order all of them would be.

    Attributes:
        order: ``[N]`` int64, every token once, best first.
        indices: ``[min(k, N)]`` int64, the kept tokens, ascending; they are the first of ``order``.
        energy: ``[N]`` float32, the weighted residual energy of each token when it was chosen, along ``order``:
            non-increasing, and 0 from where nothing is left to span; ``None`` for methods without energies.
        captured: ``[N]`` float32, the share of the total weighted energy that the first 1..N tokens of ``order``
            span: non-decreasing, in ``[0, 1]``; ``None`` for methods without energies.
        merge: ``[min(k, N), N]`` float32 on the CPU along ``chosen``, the share of every token in what takes the place
            of a kept one: rows add up to 1, columns have one entry each; ``None`` where kept tokens stay as they are.
        note: a sentence for the user on how it was made, where that was not as usual.
    """

    order: torch.Tensor
    indices: torch.Tensor
    energy: torch.Tensor | None = None
    captured: torch.Tensor | None = None
    merge: torch.Tensor | None = None
    note: str | None = None

    @classmethod
    def of(cls, order: torch.Tensor, k: int) -> "Selection":
        """The first ``k`` of ``order`` (``[N]`` int64), without energies.

        Raises:
            InputError: if ``k`` is below 1.
        """
        return cls(order, order[: checked_budget(k, len(order))].sort().values)

    @classmethod
    def merging(cls, chosen: torch.Tensor, owners: torch.Tensor) -> "Selection":
        """Keep ``chosen`` ``[k]``, each as the mean of the tokens that are its own.

        Args:
            chosen: int64, none twice, the best first.
            owners: ``[N]`` int64, for each token the place in ``chosen`` of the one that it becomes part of.
        """
        others = torch.ones(len(owners), dtype=torch.bool, device="cpu")
        others[chosen] = False
        members = torch.nn.functional.one_hot(owners, len(chosen)).T.float()
        merge = members / members.sum(1, keepdim=True) if others.any() else None
        return cls(torch.cat([chosen, others.nonzero()[:, 0]]), chosen.sort().values, merge=merge)

    def check(self) -> None:
        """Wait until it is known whether the values were such that a choice could be made; most know it at once.

        Raises:
            InputError: if they were not.
        """

    @property
    def chosen(self) -> torch.Tensor:
        """``[min(k, N)]`` int64, the kept tokens in the order of selection."""
        return self.order[: len(self.indices)]


def checked_budget(k: int, total: int) -> int:
    """``k``, or ``total`` where it is less.

    Raises:
        InputError: if ``k`` is below 1.
    """
    if k < 1:
        raise InputError(f"The budget is {k}; give at least 1 token.")
    return min(int(k), total)
