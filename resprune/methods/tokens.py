"""The visual tokens of one image, as every method sees them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from resprune.device import sent
from resprune.methods.saliency import Saliency
from resprune.selection import inner_products


@dataclass(frozen=True)
class VisualTokens:
    """The candidates of one image: its projected patches, without structural tokens such as newlines.

    Attributes:
        features: ``[N, D]`` projected visual tokens, in the language model's input-embedding space.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each; tile 0 is the whole picture.
        relevance: ``[N]`` float32 in ``(0, 1]``, how relevant each is to the question; ``None`` where the question
            names nothing.
        cosine: ``[N]`` float32 in ``[0, 1]``, what ``relevance`` is stretched from; there where that is.
        known_gram: :attr:`gram`, where it has come to the host already.
        first: ``[P]`` int64 indices on the CPU of tokens that stay anyway, none twice; a method with ``on_device`` is
            told of them, and chooses the others as if it had chosen these first. For any other they are no candidates.
        saliency: what the CLS token attends to; ``None`` where the model has none.
        text: ``[T, D]`` input embeddings of the question's tokens; ``None`` where the method does not ask for them.
    """

    features: torch.Tensor
    coords: torch.Tensor
    relevance: torch.Tensor | None = None
    first: torch.Tensor | None = None
    known_gram: np.ndarray | None = None
    saliency: Saliency | None = None
    cosine: torch.Tensor | None = None
    text: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    @cached_property
    def products(self) -> torch.Tensor:
        """``[N, N]`` float32 inner products where the features are, made once for all who ask; nobody may change it."""
        if self.known_gram is not None:
            return torch.from_numpy(self.known_gram)
        return inner_products(self.features)

    @cached_property
    def gram(self) -> np.ndarray:
        """:attr:`products` on the host."""
        return self.products.cpu().numpy()

    def only(self, others: torch.Tensor) -> "VisualTokens":
        """The candidates ``others`` (int64 indices on the CPU) alone."""
        saliency, there = self.saliency, sent(others, self.features.device)
        return VisualTokens(
            features=self.features[there],
            coords=self.coords[others],
            relevance=None if self.relevance is None else self.relevance[sent(others, self.relevance.device)],
            cosine=None if self.cosine is None else self.cosine[sent(others, self.cosine.device)],
            saliency=saliency and Saliency(saliency.attention[:, there], saliency.keys[there]),
            text=self.text,
        )
