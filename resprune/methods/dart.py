"""DART: what is least like a few pivots."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from resprune.methods.base import Method
from resprune.methods.scores import finite, largest
from resprune.methods.tokens import VisualTokens
from resprune.selection import Selection, checked_budget

PIVOTS = 4  # of the picture, and as many of the text


@dataclass(frozen=True)
class DART(Method):
    """What is least like a few pivots.

    Pivots are :data:`PIVOTS` visual tokens, which stay, and as many of the question's, which only choose. In turn each
    takes its share of the budget: the tokens of lowest cosine with it that are still there. DART does so after a layer
    of the language model, this before the first. Not nested.

    Paper: DART, arXiv 2502.11494, 2025
    Source: our own; the authors' code is github.com/ZichenWen1/DART
    """

    name: ClassVar[str] = "dart"
    reads_text: ClassVar[bool] = True
    nested: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        k = checked_budget(k, len(tokens))
        features = finite(tokens)
        pivots = largest(features.abs().sum(1), min(PIVOTS, k)).chosen
        rows = [features[pivots]]
        if tokens.text is not None:
            text = tokens.text.float().cpu()
            rows.append(text[text.abs().sum(1).argsort(descending=True, stable=True)[:PIVOTS]])
        chosen = pivots.tolist()
        there = torch.ones(len(tokens), dtype=torch.bool, device="cpu")
        there[pivots] = False
        cosines = _unit(torch.cat(rows)) @ _unit(features).T
        for i, row in enumerate(cosines):
            share = (k - len(pivots)) * (i + 1) // len(cosines) - (k - len(pivots)) * i // len(cosines)
            least = row.masked_fill(~there, torch.inf).argsort(stable=True)[:share]
            there[least] = False
            chosen += least.tolist()
        return Selection.of(torch.tensor(chosen + there.nonzero()[:, 0].tolist(), device="cpu"), k)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=1)
