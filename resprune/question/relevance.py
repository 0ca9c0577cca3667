"""How relevant each visual token is to the question: its cosine with the words, where the model embeds them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from resprune.device import as_written, sent
from resprune.question.nouns import Noun

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FLOOR = 1e-6  # of relevance, so that a weight is never 0
MOST_SPELLINGS = 1024  # remembered of one tokenizer

_SPELLINGS: WeakKeyDictionary["PreTrainedTokenizerBase", dict[tuple[Noun, int], tuple[int, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Relevance:
    """Relevance of N visual tokens to J nouns.

    Attributes:
        per_noun: ``[J, N]`` float32, cosine of each token with each noun, in ``[-1, 1]``.
        combined: ``[N]`` float32 in ``(0, 1]``: what the cosines come to, clamped at 0, stretched to ``[1e-6, 1]``; all
            ones where there is no noun, or no difference.
        cosine: ``[N]`` float32 in ``[0, 1]``, what was stretched; all zeros where there is no noun.
    """

    per_noun: torch.Tensor
    combined: torch.Tensor
    cosine: torch.Tensor

    def cpu(self) -> "Relevance":
        """The same on the host."""
        return Relevance(self.per_noun.cpu(), self.combined.cpu(), self.cosine.cpu())


@torch.no_grad()
def noun_embeddings(nouns: list[Noun], tokenizer: "PreTrainedTokenizerBase", embedding: nn.Embedding) -> torch.Tensor:
    """Where each noun lies in the language model's input-embedding space.

    It is the mean over the noun's sub-tokens as they are inside a sentence, after a space and without special tokens.
    The lemma is embedded, unless the vocabulary spells the word of the question in fewer pieces ("grapes").

    Args:
        nouns: J nouns.
        tokenizer: the model's.
        embedding: the model's input embedding.

    Returns:
        ``[J, D]`` float32 on the device of ``embedding``, or on the CPU where its weights are put aside; zeros for a
        noun that the tokenizer cannot spell.
    """
    device = _device(embedding)
    spelled = [_spelling(noun, tokenizer) for noun in nouns]
    # One transfer and one look-up for all of them: rows are filled up with the first token, which then counts nothing.
    width = max(map(len, spelled), default=0)
    if not width:
        return torch.zeros(len(nouns), embedding.embedding_dim, dtype=torch.float32, device=device)
    padded = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in spelled], dtype=torch.int64, device="cpu")
    count = torch.tensor([len(ids) for ids in spelled], dtype=torch.int64, device="cpu")[:, None]
    padded, count = sent(torch.cat([padded, count], dim=1), device).split([width, 1], dim=1)
    counts = torch.arange(width, device=device) < count
    return (embedding(padded).float() * counts[:, :, None]).sum(1) / count.clamp_min(1)


def _spelling(noun: Noun, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Ids of a noun, in as few pieces as one of its forms takes; none where the tokenizer knows neither.

    They are remembered with the tokenizer, as long as it has the same words: a question is asked many times.
    """
    known, key = _SPELLINGS.setdefault(tokenizer, {}), (noun, len(tokenizer))
    spelling = known.get(key)
    if spelling is None:
        if len(known) >= MOST_SPELLINGS:
            known.clear()
        spellings = [ids for form in (noun.lemma, noun.surface) if (ids := _inside_sentence(form, tokenizer))]
        known[key] = spelling = tuple(min(spellings, key=len, default=()))
    return spelling


def _inside_sentence(word: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids of ``word`` after another one: tokenizers differ in what they make of a space that comes first."""
    before, both = (tokenizer(text, add_special_tokens=False).input_ids for text in ("a", f"a {word}"))
    return both[len(before) :]


def _device(embedding: nn.Embedding) -> torch.device:
    """Of its inputs: weights that accelerate put aside are on none, and its hook moves the inputs to where it works."""
    return torch.device("cpu") if hasattr(embedding, "_hf_hook") else embedding.weight.device


@torch.no_grad()
def token_embeddings(text: str, tokenizer: "PreTrainedTokenizerBase", embedding: nn.Embedding) -> torch.Tensor:
    """``[T, D]`` float32 input embeddings of the tokens of ``text``; special tokens in it are spelled as the text they
    are, since the model may have no embedding for one.
    """
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return embedding(sent(torch.tensor(ids, dtype=torch.int64, device="cpu"), _device(embedding))).float()


@torch.no_grad()
def relevance(features: torch.Tensor, noun_vectors: torch.Tensor, pooling: str = "max") -> Relevance:
    """Cosine of each visual token with each noun, and what they come to: ``r_i = max_j cos(v_i, t_j)``.

    Args:
        features: ``[N, D]`` projected visual tokens.
        noun_vectors: ``[J, D]`` of :func:`noun_embeddings`; J may be 0.
        pooling: ``"max"``, the ``"mean"`` over nouns, or ``"pooled"``, the cosine with the mean of the nouns.

    Returns:
        Relevance on the device of ``features``.

    Source: arXiv 2603.21105, text conditioning; the maximum over nouns is its best variant. How r is brought to
    ``(0, 1]`` is not in the paper.
    """
    with as_written(features.device):
        return _relevance(features.float(), noun_vectors.to(features.device).float(), pooling)


def _relevance(tokens: torch.Tensor, noun_vectors: torch.Tensor, pooling: str) -> Relevance:
    nouns = nn.functional.normalize(noun_vectors, dim=1)
    per_noun = nouns @ tokens.T / tokens.norm(dim=1).clamp_min(1e-12)  # [J, N]
    flat = torch.ones(len(tokens), dtype=torch.float32, device=tokens.device)
    if not len(nouns):
        return Relevance(per_noun, flat, torch.zeros_like(flat))
    if pooling == "pooled":
        centre = nn.functional.normalize(noun_vectors.mean(0), dim=0)
        best = centre @ tokens.T / tokens.norm(dim=1).clamp_min(1e-12)
    else:
        best = per_noun.mean(0) if pooling == "mean" else per_noun.amax(0)
    best = best.clamp_min(0)
    low, high = best.aminmax()
    combined = torch.where(high > low, ((best - low) / (high - low)).clamp_min(FLOOR), flat)
    return Relevance(per_noun, combined, best)
