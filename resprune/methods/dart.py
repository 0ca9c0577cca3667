"""DART: what is least like a few pivots."""

from typing import TYPE_CHECKING

import torch

from resprune.methods.scores import finite, largest
from resprune.selection import Selection, checked_budget
from resprune.tokens import VisualTokens

if TYPE_CHECKING:
    from resprune.settings import Settings


PIVOTS = 4  # of the picture, and as many of the text


def dart(tokens: VisualTokens, k: int, settings: "Settings") -> Selection:
    """Pivots of the largest L1 norm, and what is least like each of them (DART, arXiv 2502.11494).

    Pivots are :data:`PIVOTS` visual tokens, which stay, and as many of the question's, which only choose. In turn each
    takes its share of the budget: the tokens of lowest cosine with it that are still there. DART does so after a layer
    of the language model, this before the first. Not nested.
    """
    k = checked_budget(k, len(tokens))
    features = finite(tokens)
    pivots = largest(features.abs().sum(1), min(PIVOTS, k)).chosen
    rows = [features[pivots]]
    if tokens.text is not None:
        text = tokens.text.float().cpu()
        rows.append(text[text.abs().sum(1).argsort(descending=True, stable=True)[:PIVOTS]])
    chosen = pivots.tolist()
    there = torch.ones(len(tokens), dtype=torch.bool)
    there[pivots] = False
    cosines = _unit(torch.cat(rows)) @ _unit(features).T
    for i, row in enumerate(cosines):
        share = (k - len(pivots)) * (i + 1) // len(cosines) - (k - len(pivots)) * i // len(cosines)
        least = row.masked_fill(~there, torch.inf).argsort(stable=True)[:share]
        there[least] = False
        chosen += least.tolist()
    return Selection.of(torch.tensor(chosen + there.nonzero()[:, 0].tolist()), k)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=1)
