"""From settings to a choice: automatic budgets, tokens that always stay, tokens chosen by hand."""

import torch

from resprune.errors import InputError
from resprune.methods import VisualTokens
from resprune.selection import Selection
from resprune.settings import AUTO_LEAST, AUTO_MOST, Settings

_FLOATS = {"dtype": torch.float32, "device": "cpu"}


def choose(tokens: VisualTokens, settings: Settings, protected: torch.Tensor) -> Selection:
    """The visual tokens of one image that stay.

    Args:
        tokens: its N candidates.
        settings: what the caller asked for.
        protected: ``[P]`` int64 indices on the CPU, none twice, that stay whatever the method says. They count towards
            the budget, and where they are more than it, they are what stays.

    Returns:
        A selection whose ``order`` begins with ``protected``. Their ``energy`` is infinite and their ``captured`` 0;
        what follows tells of the energy that they leave.

    Raises:
        InputError: if an index is not below N, or the method needs what the model lacks.
    """
    total = len(tokens)
    _check(protected, total)
    if settings.method.by_hand:
        by_hand = settings.method.select(tokens, total).chosen
        return _ahead(
            torch.cat([protected, by_hand]).unique(sorted=False), Selection.of(torch.arange(total, device="cpu"), 1), 0
        )
    if not len(protected):
        return _budgeted(tokens, settings, settings.budget(total))
    budget = settings.budget(total)
    more = None if budget is None else min(max(budget - len(protected), 0), total - len(protected))
    if more == 0:
        return _ahead(protected, Selection.of(torch.arange(total, device="cpu"), 1), 0)
    others = _without(protected, total)
    rest = tokens.beside(protected, others)
    chosen = _budgeted(rest, settings, more)
    among_all = Selection(others[chosen.order.cpu()], chosen.indices, chosen.energy, chosen.captured)
    return _ahead(protected, among_all, len(chosen.indices))


def _budgeted(tokens: VisualTokens, settings: Settings, budget: int | None) -> Selection:
    """What the method chooses; with a budget of ``None``, as many as hold the wanted share of the energy."""
    method = settings.method
    if budget is not None:
        return method.select(tokens, budget)
    most = max(1, round(AUTO_MOST * len(tokens)))
    widest = method.select(tokens, most)
    enough = 1 + int((widest.captured < settings.energy).sum())
    k = min(max(enough, AUTO_LEAST), most)
    return Selection(widest.order, widest.order[:k].sort().values, widest.energy, widest.captured)


def _ahead(first: torch.Tensor, selection: Selection, more: int) -> Selection:
    """``first`` stay, then ``more`` of a selection; ``first`` may be among what it orders."""
    order = selection.order.cpu()
    order = torch.cat([first, order[~torch.isin(order, first)]])
    indices = order[: len(first) + more].sort().values
    if selection.energy is None:
        return Selection(order, indices)
    energy = torch.cat([torch.full((len(first),), torch.inf, **_FLOATS), selection.energy.cpu()])
    return Selection(order, indices, energy, torch.cat([torch.zeros(len(first), **_FLOATS), selection.captured.cpu()]))


def _without(indices: torch.Tensor, total: int) -> torch.Tensor:
    others = torch.ones(total, dtype=torch.bool, device="cpu")
    others[indices] = False
    return others.nonzero()[:, 0]


def _check(indices: torch.Tensor, total: int) -> None:
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < total:
        raise InputError(
            f"protect names the visual token {int(indices.max())}, but the image has {total}; give 0 to {total - 1}."
        )
