"""From settings to a choice: automatic budgets, tokens that always stay, tokens chosen by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from resprune.errors import InputError
from resprune.methods import Method, VisualTokens
from resprune.selection import Selection
from resprune.settings import AUTO_LEAST, AUTO_MOST, Settings

_FLOATS = {"dtype": torch.float32, "device": "cpu"}


@dataclass(frozen=True)
class Asked:
    """The visual tokens of one image, and what is asked of them.

    Attributes:
        tokens: its N candidates.
        settings: what the caller asked for.
        protected: ``[P]`` int64 indices on the CPU, none twice, that stay whatever the method says. They count towards
            the budget, and where they are more than it, they are what stays.
    """

    tokens: VisualTokens
    settings: Settings
    protected: torch.Tensor


def choose(images: Sequence[Asked]) -> list[Selection]:
    """The visual tokens that stay, of each image of a call.

    Images for which the same method chooses are chosen for together, so that an accelerator is asked once.

    Returns:
        For each a selection whose ``order`` begins with ``protected``. Their ``energy`` is infinite and their
        ``captured`` 0; what follows tells of the energy that they leave.

    Raises:
        InputError: if an index is not below N, or the method needs what the model lacks.
    """
    chosen: dict[int, Selection] = {}
    together: dict[int, tuple[Method, list[tuple[int, VisualTokens, int]]]] = {}  # by the method itself
    for place, image in enumerate(images):
        total = len(image.tokens)
        _check(image.protected, total)
        simple = _without_method(image)
        if simple is not None:
            chosen[place] = simple
        elif image.settings.keep == "auto":
            chosen[place] = _enough(image)
        elif len(image.protected) and not image.settings.method.on_device:
            chosen[place] = _beside(image)
        else:
            tokens = replace(image.tokens, first=image.protected) if len(image.protected) else image.tokens
            method = image.settings.method
            together.setdefault(id(method), (method, []))[1].append((place, tokens, image.settings.budget(total)))
    for method, asked in together.values():
        places, tokens, budgets = zip(*asked, strict=True)
        chosen |= zip(places, method.select_all(tokens, budgets), strict=True)
    return [chosen[place] for place in range(len(images))]


def _without_method(image: Asked) -> Selection | None:
    """What stays where nothing is left to choose; ``None`` where something is."""
    total, protected = len(image.tokens), image.protected
    budget = image.settings.budget(total)
    if image.settings.method.by_hand:
        by_hand = image.settings.method.select(image.tokens, total).chosen
        protected = torch.cat([protected, by_hand]).unique(sorted=False)
    elif not (len(protected) and budget is not None and len(protected) >= budget):
        return None
    return _ahead(protected, Selection.of(torch.arange(total, device="cpu"), 1), 0)


def _beside(image: Asked) -> Selection:
    """What a method chooses that is not told what stays anyway."""
    others = _without(image.protected, len(image.tokens))
    tokens = image.tokens.only(others)
    if image.settings.keep == "auto":
        chosen = _widest(image.settings, tokens, 0)
    else:
        chosen = image.settings.method.select(tokens, image.settings.budget(len(image.tokens)) - len(image.protected))
    return _ahead(image.protected, _among(chosen, others), len(chosen.indices))


def _enough(image: Asked) -> Selection:
    """As many tokens as hold the wanted share of the energy."""
    if not len(image.protected):
        return _widest(image.settings, image.tokens, 0)
    if not image.settings.method.on_device:
        return _beside(image)
    return _widest(image.settings, replace(image.tokens, first=image.protected), len(image.protected))


def _widest(settings: Settings, tokens: VisualTokens, ahead: int) -> Selection:
    """The first tokens of the largest choice that hold the wanted share; ``ahead`` of them stay anyway."""
    most = min(len(tokens), ahead + max(1, round(AUTO_MOST * (len(tokens) - ahead))))
    widest = settings.method.select(tokens, most)
    enough = 1 + int((widest.captured < settings.energy).sum())
    k = min(max(enough, ahead + AUTO_LEAST), most)
    return Selection(widest.order, widest.order[:k].sort().values, widest.energy, widest.captured, note=widest.note)


def _among(chosen: Selection, others: torch.Tensor) -> Selection:
    """A selection among ``others``, told in the numbers of all."""
    order = others[chosen.order.cpu()]
    return Selection(order, chosen.indices, chosen.energy, chosen.captured, note=chosen.note)


def _ahead(first: torch.Tensor, selection: Selection, more: int) -> Selection:
    """``first`` stay, then ``more`` of a selection; ``first`` may be among what it orders."""
    order = selection.order.cpu()
    order = torch.cat([first, order[~torch.isin(order, first)]])
    indices = order[: len(first) + more].sort().values
    if selection.energy is None:
        return Selection(order, indices, note=selection.note)
    energy = torch.cat([torch.full((len(first),), torch.inf, **_FLOATS), selection.energy.cpu()])
    captured = torch.cat([torch.zeros(len(first), **_FLOATS), selection.captured.cpu()])
    return Selection(order, indices, energy, captured, note=selection.note)


def _without(indices: torch.Tensor, total: int) -> torch.Tensor:
    others = torch.ones(total, dtype=torch.bool, device="cpu")
    others[indices] = False
    return others.nonzero()[:, 0]


def _check(indices: torch.Tensor, total: int) -> None:
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < total:
        raise InputError(
            f"protect names the visual token {int(indices.max())}, but the image has {total}; give 0 to {total - 1}."
        )
