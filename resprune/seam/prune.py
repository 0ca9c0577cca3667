"""Choose the visual tokens of one image that stay, and tell what was chosen."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.device import Span, as_written
from resprune.layouts import boxes
from resprune.methods import Conditioned, Method, Saliency, VisualTokens
from resprune.question import Relevance, noun_embeddings, question_of, token_embeddings
from resprune.seam.choice import choose
from resprune.seam.result import PruneResult
from resprune.selection import Selection, mass_from_gram
from resprune.settings import Mass, Settings


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
    def of(cls, model: PreTrainedModel, processor: ProcessorMixin, input_ids: torch.Tensor, method: Method) -> "Words":
        """Those of the last question in a prompt ``[S]``, as far as the method asks for them."""
        if not (method.conditioned or method.reads_text):
            return cls([], None)
        question, embedding = question_of(processor, input_ids), model.get_input_embeddings()
        text = token_embeddings(question, processor.tokenizer, embedding) if method.reads_text else None
        if not method.conditioned:
            return cls([], None, text)
        words = method.words_of(question)
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


def prune(
    features: torch.Tensor,
    coords: torch.Tensor,
    saliency: Saliency | None,
    words: Words,
    settings: Settings,
    processor: ProcessorMixin,
    model: PreTrainedModel,
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
        model: whose tokens they are.

    Returns:
        What stays, and the result, whose time is that of this choice alone.

    Raises:
        InputError: if the settings name a token that the image does not have, or the method needs what the
            model lacks.
    """
    with as_written(features.device):
        return _prune(features, coords, saliency, words, settings, processor, model)


def _prune(
    features: torch.Tensor,
    coords: torch.Tensor,
    saliency: Saliency | None,
    words: Words,
    settings: Settings,
    processor: ProcessorMixin,
    model: PreTrainedModel,
) -> Pruned:
    span = Span(features.device)
    patches = (coords[:, 0] >= 0).nonzero()[:, 0]
    places = coords[patches]
    candidates = features if len(patches) == len(coords) else features[patches.to(features.device)]
    known, gram = (None, None) if words.vectors is None else _on_host(candidates, words.vectors, settings.method)
    tokens = VisualTokens(
        candidates,
        places,
        relevance=None if known is None else known.combined,
        cosine=None if known is None else known.cosine,
        known_gram=gram,
        saliency=saliency,
        text=words.text,
    )
    protected, unseen = _protected(settings, processor, model, places)
    selection = choose(tokens, settings, protected)

    chosen = selection.chosen.cpu()
    mass = _mass(tokens, selection, chosen, settings.mass) if settings.mass else None
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
        method=settings.method.name,
        mass=mass,
        notes=unseen + _notes(words, settings, len(tokens), len(chosen)),
    )
    if len(result.tiles) > 1:
        result.notes.append(f"Kept in tiles {', '.join(f'{t}: {k} of {n}' for t, (k, n) in result.tiles.items())}.")
    return Pruned(features, stays, result)


def _mass(tokens: VisualTokens, selection: Selection, chosen: torch.Tensor, mass: Mass) -> torch.Tensor:
    """``[k]`` float32, how many tokens each kept one stands for: those that it is the mean of, or is nearest to."""
    if selection.merge is not None:
        return (selection.merge > 0).sum(1).float()
    return mass_from_gram(tokens.gram, chosen, **asdict(mass))


def _on_host(features: torch.Tensor, nouns: torch.Tensor, method: Conditioned) -> tuple[Relevance, np.ndarray | None]:
    """Relevance of tokens ``[n, D]``, and from an accelerator their inner products with it, in one transfer."""
    known = method.relevance_of(features, nouns)
    if features.device.type == "cpu":
        return known, None
    rows = features.float()
    host = torch.cat([known.combined[None], known.cosine[None], known.per_noun, rows @ rows.T]).cpu()
    (combined, cosine), per_noun, gram = host.split([2, len(nouns), len(rows)])
    return Relevance(per_noun, combined, cosine), gram.numpy()


def _protected(
    settings: Settings, processor: ProcessorMixin, model: PreTrainedModel, places: torch.Tensor
) -> tuple[torch.Tensor, list[str]]:
    """``[P]`` int64, the candidates at ``places [N, 3]`` that always stay, and notes on boxes that protect none."""
    indices = [entry for entry in settings.protect if isinstance(entry, int)]
    notes = []
    if settings.boxes:
        # All candidates tell what the processor made of the picture, whatever its settings are by themselves.
        x0, y0, x1, y1 = boxes(processor, settings.image_size, places, every=places, model=model).T
        for left, top, right, bottom in settings.boxes:
            touched = (x0 < right) & (x1 > left) & (y0 < bottom) & (y1 > top)
            indices += touched.nonzero()[:, 0].tolist()
            if not touched.any():
                notes.append(
                    f"The box {(left, top, right, bottom)} protects nothing: the model does not see that part."
                )
    return torch.tensor(list(dict.fromkeys(indices)), dtype=torch.int64, device="cpu"), notes


def _notes(words: Words, settings: Settings, total: int, kept: int) -> list[str]:
    notes = []
    if settings.method.conditioned and not words.names:
        notes.append("No noun in the question: all patches weigh the same.")
    if settings.method.by_hand:
        return notes
    if isinstance(settings.keep, int) and settings.keep > total:
        notes.append(f"The budget of {settings.keep} is more than the {total} tokens of this image: all are kept.")
    budget = settings.budget(total)
    if budget is not None and kept > budget:
        notes.append(f"{kept} tokens are protected, more than the budget of {budget}: they are what is kept.")
    return notes
