"""Choose the visual tokens of one image that stay, and tell what was chosen."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.choice import choose
from resprune.layouts import boxes
from resprune.mass import mass_from_gram
from resprune.measure import SharedSpan, Span
from resprune.methods import METHODS
from resprune.prompt import question_of
from resprune.relevance import Noun, Relevance, find_nouns, noun_embeddings, relevance
from resprune.selection import Selection
from resprune.settings import MANUAL, Settings
from resprune.tokens import VisualTokens


@dataclass(frozen=True)
class PruneResult:
    """What happened to one image. All tensors are on the CPU; N is the number of its visual tokens.

    Attributes:
        kept: ``(tile, row, col)`` of the tokens that stayed, in the order of selection.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each token.
        selection: what the method chose.
        relevance: for each noun ``[N]`` float32, its cosine with each token.
        nouns: of the question, in the order in which they appear; none where the method does not ask for them.
        tokens_total: N.
        tokens_kept: how many stayed.
        took: the time of pruning, see :attr:`select_ms`.
        method: its name.
        mass: ``[k]`` float32 along ``kept``, how many tokens each stands for, N in all; ``None`` where none is carried.
        notes: sentences for the user.
    """

    kept: list[tuple[int, int, int]]
    coords: torch.Tensor
    selection: Selection
    relevance: dict[str, torch.Tensor]
    nouns: list[str]
    tokens_total: int
    tokens_kept: int
    took: Span | SharedSpan
    method: str
    mass: torch.Tensor | None = None
    notes: list[str] = field(default_factory=list)

    # What is not needed before the first token takes its time when somebody asks: waiting for a clock, ranking what was
    # dropped.

    @property
    def select_ms(self) -> float:
        """Milliseconds that pruning took beyond a run without it; those of one call's images add up to the whole."""
        return self.took.ms

    @property
    def tiles(self) -> dict[int, tuple[int, int]]:
        """How the budget fell on the tiles: of each, how many tokens stayed, and how many it has."""
        kept = Counter(tile for tile, _, _ in self.kept)
        return {tile: (kept[tile], total) for tile, total in sorted(Counter(self.coords[:, 0].tolist()).items())}

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
    def of(
        cls, model: PreTrainedModel, processor: ProcessorMixin, input_ids: torch.Tensor, settings: Settings
    ) -> "Nouns":
        """Those of the last question in a prompt ``[S]``, if the method is one that asks for them."""
        if not conditioned(settings):
            return cls([], None)
        nouns: list[Noun] = find_nouns(question_of(processor, input_ids))
        if not nouns:
            return cls([], None)
        vectors = noun_embeddings(nouns, processor.tokenizer, model.get_input_embeddings())
        return cls([noun.surface for noun in nouns], vectors)


def conditioned(settings: Settings) -> bool:
    """Whether the words of the question play a part in the choice."""
    return settings.method in METHODS and METHODS[settings.method].conditioned


def prune(
    features: torch.Tensor, coords: torch.Tensor, nouns: Nouns, settings: Settings, processor: ProcessorMixin
) -> tuple[torch.Tensor, PruneResult]:
    """Choose among the visual tokens of one image.

    On an accelerator this waits for it once, for the inner products of the tokens; all else is done on the host.

    Args:
        features: ``[n, D]`` projected visual tokens, structural ones included.
        coords: ``[n, 3]`` int64, ``(tile, row, col)``; tile -1 marks a structural token, which stays.
        nouns: of the question.
        settings: what the caller asked for.
        processor: of the model.

    Returns:
        ``[n]`` float32 on the CPU, the mass of each token that stays (1 where none is carried) and 0 of the others, and
        the result, whose time is that of this choice alone.

    Raises:
        InputError: if the settings name a token that the image does not have.
    """
    span = Span(features.device)
    patches = (coords[:, 0] >= 0).nonzero()[:, 0]
    places = coords[patches]
    candidates = features if len(patches) == len(coords) else features[patches.to(features.device)]
    known, gram = (None, None) if nouns.vectors is None else _on_host(candidates, nouns.vectors)
    tokens = VisualTokens(candidates, places, None if known is None else known.combined, known_gram=gram)
    selection = choose(tokens, settings, _protected(settings, processor, places))

    chosen = selection.chosen.cpu()
    mass = mass_from_gram(tokens.gram, chosen) if settings.mass else None
    stays = (coords[:, 0] < 0).float()
    stays[patches[chosen]] = 1.0 if mass is None else mass
    result = PruneResult(
        kept=[tuple(place) for place in places[chosen].tolist()],
        coords=places,
        selection=selection,
        relevance={} if known is None else dict(zip(nouns.names, known.per_noun, strict=True)),
        nouns=nouns.names,
        tokens_total=len(tokens),
        tokens_kept=len(chosen),
        took=span.end(),
        method=settings.method,
        mass=mass,
        notes=_notes(nouns, settings, len(tokens), len(chosen)),
    )
    if len(result.tiles) > 1:
        result.notes.append(f"Kept in tiles {', '.join(f'{t}: {k} of {n}' for t, (k, n) in result.tiles.items())}.")
    return stays, result


def _on_host(features: torch.Tensor, nouns: torch.Tensor) -> tuple[Relevance, np.ndarray | None]:
    """Relevance of tokens ``[n, D]``, and from an accelerator their inner products with it, in one transfer."""
    known = relevance(features, nouns)
    if features.device.type == "cpu":
        return known, None
    rows = features.float()
    host = torch.cat([known.combined[None], known.per_noun, rows @ rows.T]).cpu()
    combined, per_noun, gram = host.split([1, len(nouns), len(rows)])
    return Relevance(per_noun, combined[0]), gram.numpy()


def _protected(settings: Settings, processor: ProcessorMixin, places: torch.Tensor) -> torch.Tensor:
    """``[P]`` int64, the candidates at ``places [N, 3]`` that always stay."""
    indices = [entry for entry in settings.protect if isinstance(entry, int)]
    wanted = [entry for entry in settings.protect if not isinstance(entry, int)]
    if wanted:
        x0, y0, x1, y1 = boxes(processor, settings.image_size, places).T
        for left, top, right, bottom in wanted:
            touched = (x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top)
            indices += touched.nonzero()[:, 0].tolist()
    return torch.tensor(list(dict.fromkeys(indices)), dtype=torch.int64)


def _notes(nouns: Nouns, settings: Settings, total: int, kept: int) -> list[str]:
    notes = []
    if conditioned(settings) and not nouns.names:
        notes.append("No noun in the question: all patches weigh the same.")
    if settings.method == MANUAL:
        return notes
    if isinstance(settings.keep, int) and settings.keep > total:
        notes.append(f"The budget of {settings.keep} is more than the {total} tokens of this image: all are kept.")
    budget = settings.budget(total)
    if budget is not None and kept > budget:
        notes.append(f"{kept} tokens are protected, more than the budget of {budget}: they are what is kept.")
    return notes
