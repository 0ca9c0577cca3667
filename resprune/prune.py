"""Choose the visual tokens of one image that stay, and tell what was chosen."""

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.measure import now_ms
from resprune.methods import METHODS
from resprune.prompt import question_of
from resprune.relevance import Noun, find_nouns, noun_embeddings, relevance
from resprune.selection import Selection
from resprune.settings import Settings
from resprune.tokens import VisualTokens


@dataclass(frozen=True)
class PruneResult:
    """What happened to one image. All tensors are on the CPU; N is the number of its visual tokens.

    Attributes:
        kept: ``(tile, row, col)`` of the tokens that stayed, in the order of selection.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each token.
        selection: what the method chose.
        relevance: for each noun ``[N]`` float32, its cosine with each token.
        nouns: of the question, in the order in which they appear.
        tokens_total: N.
        tokens_kept: how many stayed.
        select_ms: milliseconds that pruning took beyond a run without it; those of one call's images add up to the
            whole.
        method: its name.
        notes: sentences for the user.
    """

    kept: list[tuple[int, int, int]]
    coords: torch.Tensor
    selection: Selection
    relevance: dict[str, torch.Tensor]
    nouns: list[str]
    tokens_total: int
    tokens_kept: int
    select_ms: float
    method: str
    notes: list[str] = field(default_factory=list)

    # Ranking what was dropped is explanation: it takes its time when somebody asks, not before the first token.

    @property
    def order(self) -> torch.Tensor:
        """``[N]`` int64, all tokens, best first: the first k are what a budget of k keeps, if the method is nested."""
        return self.selection.order.cpu()

    @property
    def energy(self) -> torch.Tensor | None:
        """``[N]`` float32, residual energy of each token when chosen, along ``order``; ``None`` where none is known."""
        return None if self.selection.energy is None else self.selection.energy.cpu()

    @property
    def captured(self) -> torch.Tensor | None:
        """``[N]`` float32 in ``[0, 1]``, share of the energy that the first 1..N of ``order`` span, or ``None``."""
        return None if self.selection.captured is None else self.selection.captured.cpu()


@dataclass(frozen=True)
class Nouns:
    """The nouns of a question and their ``[J, D]`` embeddings, ``None`` where there are none."""

    names: list[str]
    vectors: torch.Tensor | None

    @classmethod
    def of(cls, model: PreTrainedModel, processor: ProcessorMixin, input_ids: torch.Tensor) -> "Nouns":
        """Those of the last question in a prompt ``[S]``."""
        nouns: list[Noun] = find_nouns(question_of(processor, input_ids))
        if not nouns:
            return cls([], None)
        vectors = noun_embeddings(nouns, processor.tokenizer, model.get_input_embeddings())
        return cls([noun.surface for noun in nouns], vectors)


def prune(
    features: torch.Tensor, coords: torch.Tensor, nouns: Nouns, settings: Settings
) -> tuple[torch.Tensor, PruneResult]:
    """Choose among the visual tokens of one image.

    Args:
        features: ``[n, D]`` projected visual tokens, structural ones included.
        coords: ``[n, 3]`` int64, ``(tile, row, col)``; tile -1 marks a structural token, which stays.
        nouns: of the question.
        settings: what the caller asked for.

    Returns:
        ``[n]`` bool on the CPU, the tokens that stay, and the result, whose ``select_ms`` is that of this choice alone.
    """
    started = now_ms(features.device)
    structural = coords[:, 0] < 0
    places = coords[~structural]
    candidates = features[~structural.to(features.device)] if structural.any() else features
    known = None if nouns.vectors is None else relevance(candidates, nouns.vectors)
    tokens = VisualTokens(candidates, places, None if known is None else known.combined)
    budget = settings.budget(len(tokens))
    selection = METHODS[settings.method](tokens, budget, settings)

    chosen = selection.chosen.cpu()
    stays = structural.clone()
    stays[(~structural).nonzero()[chosen, 0]] = True
    return stays, PruneResult(
        kept=[tuple(place) for place in places[chosen].tolist()],
        coords=places,
        selection=selection,
        relevance={} if known is None else dict(zip(nouns.names, known.per_noun.float().cpu(), strict=True)),
        nouns=nouns.names,
        tokens_total=len(tokens),
        tokens_kept=budget,
        select_ms=now_ms(features.device) - started,
        method=settings.method,
        notes=_notes(nouns, settings, len(tokens)),
    )


def _notes(nouns: Nouns, settings: Settings, total: int) -> list[str]:
    notes = []
    if not nouns.names:
        notes.append("No noun in the question: all patches weigh the same.")
    if isinstance(settings.keep, int) and settings.keep > total:
        notes.append(f"The budget of {settings.keep} is more than the {total} tokens of this image: all are kept.")
    return notes
