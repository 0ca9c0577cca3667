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
from resprune.relevance import Relevance, find_nouns, find_words, noun_embeddings, relevance, token_embeddings
from resprune.saliency import Saliency
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
        nouns: of the question, in the order in which they appear, or all its words if the settings say so; none where
            the method does not ask for them.
        tokens_total: N.
        tokens_kept: how many stayed.
        took: the time of pruning, see :attr:`select_ms`.
        method: its name.
        mass: ``[k]`` float32 along ``kept``, how many tokens each stands for, itself and those alike, at most N in
            all; ``None`` where none is carried.
        average: mean number of visual tokens that a layer reads, where layers differ; ``None`` where each reads
            ``tokens_kept``.
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
    average: float | None = None
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
class Words:
    """What a method is told of a question.

    Attributes:
        names: the words whose relevance counts, as they stand there.
        vectors: ``[J, D]`` embeddings of them; ``None`` where there are none.
        text: ``[T, D]`` embeddings of the question's tokens; ``None`` where the method does not ask for them.
    """

    names: list[str]
    vectors: torch.Tensor | None
    text: torch.Tensor | None = None

    @classmethod
    def of(
        cls, model: PreTrainedModel, processor: ProcessorMixin, input_ids: torch.Tensor, settings: Settings
    ) -> "Words":
        """Those of the last question in a prompt ``[S]``, as far as the method asks for them."""
        method = METHODS.get(settings.method)
        if not method or not (method.conditioned or method.reads_text):
            return cls([], None)
        question, embedding = question_of(processor, input_ids), model.get_input_embeddings()
        text = token_embeddings(question, processor.tokenizer, embedding) if method.reads_text else None
        if not method.conditioned:
            return cls([], None, text)
        words = find_nouns(question) if settings.words == "nouns" else find_words(question)
        if not words:
            return cls([], None, text)
        return cls([word.surface for word in words], noun_embeddings(words, processor.tokenizer, embedding), text)


@dataclass(frozen=True)
class Pruned:
    """One image after the choice.

    Attributes:
        features: ``[n, D]`` of its tokens; where a method merges, those that stay are what it made of them.
        mass: ``[n]`` float32 on the CPU, of each token that stays (1 where none is carried), and 0 of the others.
        result: what happened.
    """

    features: torch.Tensor
    mass: torch.Tensor
    result: PruneResult


def conditioned(settings: Settings) -> bool:
    """Whether the words of the question play a part in the choice."""
    return settings.method in METHODS and METHODS[settings.method].conditioned


def prune(
    features: torch.Tensor,
    coords: torch.Tensor,
    saliency: Saliency | None,
    words: Words,
    settings: Settings,
    processor: ProcessorMixin,
) -> Pruned:
    """Choose among the visual tokens of one image.

    On an accelerator this waits for it once, for the inner products of the tokens; all else is done on the host.

    Args:
        features: ``[n, D]`` projected visual tokens, structural ones included.
        coords: ``[n, 3]`` int64, ``(tile, row, col)``; tile -1 marks a structural token, which stays.
        saliency: what the CLS token attends to, where there is one.
        words: of the question.
        settings: what the caller asked for.
        processor: of the model.

    Returns:
        What stays, and the result, whose time is that of this choice alone.

    Raises:
        InputError: if the settings name a token that the image does not have, or the method needs what the
            model lacks.
    """
    span = Span(features.device)
    patches = (coords[:, 0] >= 0).nonzero()[:, 0]
    places = coords[patches]
    candidates = features if len(patches) == len(coords) else features[patches.to(features.device)]
    known, gram = (None, None) if words.vectors is None else _on_host(candidates, words.vectors, settings.pooling)
    tokens = VisualTokens(
        candidates,
        places,
        relevance=None if known is None else known.combined,
        cosine=None if known is None else known.cosine,
        known_gram=gram,
        saliency=saliency,
        text=words.text,
    )
    selection = choose(tokens, settings, _protected(settings, processor, places))

    chosen = selection.chosen.cpu()
    mass = _mass(tokens, selection, chosen, settings.alike) if settings.mass else None
    stays = (coords[:, 0] < 0).float()
    stays[patches[chosen]] = 1.0 if mass is None else mass
    if selection.merge is not None:
        merged = selection.merge.to(candidates.device) @ candidates.float()
        features = features.clone()
        features[patches[chosen].to(features.device)] = merged.to(features.dtype)
    result = PruneResult(
        kept=[tuple(place) for place in places[chosen].tolist()],
        coords=places,
        selection=selection,
        relevance={} if known is None else dict(zip(words.names, known.per_noun, strict=True)),
        nouns=words.names,
        tokens_total=len(tokens),
        tokens_kept=len(chosen),
        took=span.end(),
        method=settings.method,
        mass=mass,
        notes=_notes(words, settings, len(tokens), len(chosen)),
    )
    if len(result.tiles) > 1:
        result.notes.append(f"Kept in tiles {', '.join(f'{t}: {k} of {n}' for t, (k, n) in result.tiles.items())}.")
    return Pruned(features, stays, result)


def _mass(tokens: VisualTokens, selection: Selection, chosen: torch.Tensor, alike: float) -> torch.Tensor:
    """``[k]`` float32, how many tokens each kept one stands for: those that it is the mean of, or is nearest to."""
    return (
        mass_from_gram(tokens.gram, chosen, alike) if selection.merge is None else (selection.merge > 0).sum(1).float()
    )


def _on_host(features: torch.Tensor, nouns: torch.Tensor, pooling: str) -> tuple[Relevance, np.ndarray | None]:
    """Relevance of tokens ``[n, D]``, and from an accelerator their inner products with it, in one transfer."""
    known = relevance(features, nouns, pooling)
    if features.device.type == "cpu":
        return known, None
    rows = features.float()
    host = torch.cat([known.combined[None], known.cosine[None], known.per_noun, rows @ rows.T]).cpu()
    (combined, cosine), per_noun, gram = host.split([2, len(nouns), len(rows)])
    return Relevance(per_noun, combined, cosine), gram.numpy()


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


def _notes(words: Words, settings: Settings, total: int, kept: int) -> list[str]:
    notes = []
    if conditioned(settings) and not words.names:
        notes.append("No noun in the question: all patches weigh the same.")
    if settings.method == MANUAL:
        return notes
    if isinstance(settings.keep, int) and settings.keep > total:
        notes.append(f"The budget of {settings.keep} is more than the {total} tokens of this image: all are kept.")
    budget = settings.budget(total)
    if budget is not None and kept > budget:
        notes.append(f"{kept} tokens are protected, more than the budget of {budget}: they are what is kept.")
    return notes
