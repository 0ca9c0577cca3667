"""What a method is: a frozen dataclass with options of its own, and one function that chooses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from resprune.methods.tokens import VisualTokens
from resprune.options import WithOptions, option
from resprune.question import Noun, Relevance, find_nouns, find_words, relevance
from resprune.selection import Selection


@dataclass(frozen=True)
class Method(WithOptions):
    """A way to choose the visual tokens of one image. ``str(method)`` is its name with the options that were changed.

    A subclass is a frozen dataclass in a file of its own. Its fields are made by :func:`resprune.options.option`; the
    first line of its docstring is its summary, and lines that begin with ``Paper:`` and ``Source:`` say where it is
    from: :func:`resprune.methods.table` shows them.

    Attributes:
        name: by which it is asked for.
        conditioned: the words of the question play a part; such a method is a :class:`Conditioned`.
        energies: its selections have ``energy`` and ``captured``, which an automatic budget needs.
        nested: what a budget of k keeps is the first k of ``Selection.order`` for any budget, so that one order serves
            them all.
        attends: chooses by what the vision tower's CLS token attends to, which few models have.
        reads_text: asks for the embeddings of the question's tokens.
        merges: what it keeps are means of several tokens.
        inside: its tokens leave inside the language model, and ``select`` is not asked.
        draws: chooses at random, so that one draw says little; :meth:`drawn` makes another.
        on_device: chooses on the accelerator where the features are, if there is one, and heeds ``tokens.first``.
        by_hand: its tokens are named, not chosen: they are those of one picture, and a budget says nothing.
    """

    name: ClassVar[str]
    conditioned: ClassVar[bool] = False
    energies: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    attends: ClassVar[bool] = False
    reads_text: ClassVar[bool] = False
    merges: ClassVar[bool] = False
    inside: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    on_device: ClassVar[bool] = False
    by_hand: ClassVar[bool] = False

    def select(self, tokens: VisualTokens, k: int) -> Selection:
        """Choose.

        Args:
            tokens: the N candidates of one image.
            k: how many to keep, at least 1; more than N keeps all.

        Raises:
            InputError: if the method needs what the model lacks, or the features hold no numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} has no select().")

    def select_all(self, images: Sequence[VisualTokens], budgets: Sequence[int]) -> list[Selection]:
        """:meth:`select` for each image of a call."""
        return [self.select(tokens, k) for tokens, k in zip(images, budgets, strict=True)]

    def drawn(self, number: int) -> Self:
        """The same method with another draw, where it draws at random."""
        return self

    def __str__(self) -> str:
        return self.name + self.written()

    @classmethod
    def summary(cls) -> str:
        """One line for people."""
        return (cls.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")

    @classmethod
    def fact(cls, name: str) -> str:
        """What its docstring says of ``"Paper"`` or ``"Source"``; empty where it says nothing."""
        found = re.search(rf"^\s*{name}: (.+)$", cls.__doc__ or "", re.MULTILINE)
        return found[1].strip().rstrip(".") if found else ""


@dataclass(frozen=True)
class Conditioned(Method):
    """A method in which the words of the question play a part. It decides which words, and what their cosines come to.

    ``tokens.relevance`` and ``tokens.cosine`` are what it makes of them; both are ``None`` where there is no word.
    """

    conditioned: ClassVar[bool] = True

    words: str = option("nouns", "words of the question that count", choices=("nouns", "all"))
    pooling: str = option("max", "what a token's cosines with them come to", choices=("max", "mean", "pooled"))

    def words_of(self, question: str) -> list[Noun]:
        """The words of a question that count."""
        return find_nouns(question) if self.words == "nouns" else find_words(question)

    def relevance_of(self, features: torch.Tensor, vectors: torch.Tensor) -> Relevance:
        """Relevance of visual tokens ``[N, D]`` to words ``[J, D]``."""
        return relevance(features, vectors, self.pooling)
