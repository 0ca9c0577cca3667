"""Choose the visual tokens that stay, of each image of a call, and tell what was chosen."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.device import SharedSpan, as_written, sent
from resprune.layouts import boxes
from resprune.methods import Method, Saliency, VisualTokens
from resprune.question import Relevance, noun_embeddings, question_of, token_embeddings
from resprune.seam.choice import Asked, choose
from resprune.seam.result import PruneResult
from resprune.selection import NO_MEMORY, Selection, gram_matrix, inner_products, mass_from_gram, serves
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
class Image:
    """One image of a call, and what is asked of it.

    Attributes:
        features: ``[n, D]`` projected visual tokens, structural ones included.
        coords: ``[n, 3]`` int64 on the CPU, ``(tile, row, col)``; tile -1 marks a structural token, which stays.
        saliency: what the CLS token attends to, where there is one.
        words: of the question.
        settings: what the caller asked for.
    """

    features: torch.Tensor
    coords: torch.Tensor
    saliency: Saliency | None
    words: Words
    settings: Settings


@dataclass(frozen=True)
class Pruned:
    """One image after the choice.

    Attributes:
        features: ``[n, D]`` of its tokens; where a method merges, those that stay are what it made of them.
        stays: ``[m]`` int64, which of them stay, ascending.
        mass: ``[n]`` float32, of each token that stays (1 where none is carried), and 0 of the others.
        result: what happened.

    ``stays`` and ``mass`` are on the device where the choice was made: that of the features, or the host.
    """

    features: torch.Tensor
    stays: torch.Tensor
    mass: torch.Tensor
    result: PruneResult

    def on_host(self) -> "Pruned":
        """The same with the choice on the host; this waits for an accelerator that made it."""
        return replace(self, stays=self.stays.cpu(), mass=self.mass.cpu())


def prune(images: Sequence[Image], took: SharedSpan, processor: ProcessorMixin, model: PreTrainedModel) -> list[Pruned]:
    """Choose among the visual tokens of each image of a call.

    With a budget that is a number, a method that can choose on the accelerator does, and nothing here waits for it.
    For any other the inner products of an image come to the host, for which this waits once an image.

    Args:
        images: of the call.
        took: the time of each, which may still run.
        processor: of the model.
        model: whose tokens they are.

    Returns:
        What stays of each, and the results.

    Raises:
        InputError: if the settings name a token that the image does not have, or the method needs what the
            model lacks.
    """
    if not images:
        return []

    def chosen(on_host: bool) -> list[Pruned]:
        candidates = [_Candidates.of(image, processor, model, on_host) for image in images]
        selections = choose([one.asked for one in candidates])
        return [one.pruned(selection, took) for one, selection in zip(candidates, selections, strict=True)]

    with as_written(images[0].features.device):
        try:
            return chosen(on_host=False)
        except torch.OutOfMemoryError:  # for the inner products, and so before anything was done
            return chosen(on_host=True)


@dataclass(frozen=True)
class _Candidates:
    """The visual tokens of an image among which a method chooses.

    Attributes:
        image: whose they are.
        patches: ``[N]`` int64 on the CPU, which of its tokens they are.
        asked: of them.
        per_noun: ``[J, N]`` float32, their cosine with each word, where there are words.
        remarks: sentences for the user, by what is known before the choice.
    """

    image: Image
    patches: torch.Tensor
    asked: Asked
    per_noun: torch.Tensor | None
    remarks: list[str]

    @classmethod
    def of(cls, image: Image, processor: ProcessorMixin, model: PreTrainedModel, on_host: bool) -> "_Candidates":
        """Those of an image; ``on_host`` where its device has no memory for their inner products."""
        features, coords, words, settings = image.features, image.coords, image.words, image.settings
        patches = (coords[:, 0] >= 0).nonzero()[:, 0]
        places = coords[patches]
        candidates = features if len(patches) == len(coords) else features[sent(patches, features.device)]
        known = None if words.vectors is None else settings.method.relevance_of(candidates, words.vectors)
        gram = None
        if on_host:
            known, gram = known and known.cpu(), gram_matrix(candidates.cpu())
        elif known is not None and not _stays_there(settings, features.device):
            known, gram = _to_host(candidates, known)
        tokens = VisualTokens(
            candidates,
            places,
            relevance=None if known is None else known.combined,
            cosine=None if known is None else known.cosine,
            known_gram=gram,
            saliency=image.saliency,
            text=words.text,
        )
        protected, unseen = _protected(settings, processor, model, places)
        asked = Asked(tokens, settings, protected)
        remarks = [*unseen, NO_MEMORY] if on_host else unseen
        return cls(image, patches, asked, None if known is None else known.per_noun, remarks)

    def pruned(self, selection: Selection, took: SharedSpan) -> Pruned:
        """The image of which ``selection`` stays."""
        tokens, settings, features = self.asked.tokens, self.image.settings, self.image.features
        chosen, stays, words = selection.chosen, selection.indices, self.image.words
        weights = _mass(tokens, selection, settings.mass) if settings.mass else None
        structural = self.image.coords[:, 0] < 0
        if len(tokens) < len(structural):
            patches = sent(self.patches, chosen.device)
            places, mass = patches[chosen], sent(structural.float(), chosen.device)
            stays = torch.cat([sent(structural.nonzero()[:, 0], chosen.device), patches[stays]]).sort().values
        else:
            places, mass = chosen, torch.zeros(len(tokens), dtype=torch.float32, device=chosen.device)
        mass = mass.index_fill_(0, places, 1) if weights is None else mass.scatter_(0, places, weights)
        if selection.merge is not None:
            merged = sent(selection.merge, features.device) @ tokens.features.float()
            features = features.clone()
            features[sent(places, features.device)] = merged.to(features.dtype)
        result = PruneResult(
            coords=tokens.coords,
            selection=selection,
            nouns=words.names,
            tokens_kept=len(chosen),
            took=took,
            method=settings.method.name,
            per_noun=self.per_noun,
            weights=weights,
            remarks=(*self.remarks, *_notes(words, settings, len(tokens), len(chosen))),
        )
        return Pruned(features, stays, mass, result)


def _stays_there(settings: Settings, device: torch.device) -> bool:
    """Whether the choice is made where the tokens are, so that nothing of them comes to the host before it."""
    return device.type == "cpu" or (settings.method.on_device and settings.keep != "auto" and serves(device))


def _to_host(features: torch.Tensor, known: Relevance) -> tuple[Relevance, np.ndarray]:
    """Relevance of tokens ``[n, D]`` on an accelerator, and their inner products with it, in one transfer."""
    parts = [known.combined[None], known.cosine[None], known.per_noun, inner_products(features)]
    (combined, cosine), per_noun, gram = torch.cat(parts).cpu().split([2, len(known.per_noun), len(features)])
    return Relevance(per_noun, combined, cosine), gram.numpy()


def _mass(tokens: VisualTokens, selection: Selection, mass: Mass) -> torch.Tensor:
    """``[k]`` float32, how many tokens each kept one stands for: those that it is the mean of, or is nearest to."""
    if selection.merge is not None:
        return (selection.merge > 0).sum(1).float()
    chosen = selection.chosen
    gram = tokens.products if chosen.device == tokens.products.device else tokens.gram
    return mass_from_gram(gram, chosen, **asdict(mass))


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
