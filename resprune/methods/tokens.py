"""The visual tokens of one image, as every method sees them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from resprune.methods.saliency import Saliency
from resprune.selection import gram_matrix


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
        present: ``[P, D]`` features of tokens that stay anyway and are no candidates; ``None`` where there are none.
        saliency: what the CLS token attends to; ``None`` where the model has none.
        text: ``[T, D]`` input embeddings of the question's tokens; ``None`` where the method does not ask for them.
    """

    features: torch.Tensor
    coords: torch.Tensor
    relevance: torch.Tensor | None = None
    present: torch.Tensor | None = None
    known_gram: np.ndarray | None = None
    saliency: Saliency | None = None
    cosine: torch.Tensor | None = None
    text: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    @cached_property
    def gram(self) -> np.ndarray:
        """``[N, N]`` float32 inner products on the host, made once for all who ask; nobody may change it."""
        return gram_matrix(self.features) if self.known_gram is None else self.known_gram

    def beside(self, present: torch.Tensor, others: torch.Tensor) -> "VisualTokens":
        """The candidates ``others`` (int64 indices on the CPU), while those of ``present`` stay anyway."""
        device, saliency = self.features.device, self.saliency
        there = others.to(device)
        return VisualTokens(
            features=self.features[there],
            coords=self.coords[others],
            relevance=None if self.relevance is None else self.relevance[others.to(self.relevance.device)],
            cosine=None if self.cosine is None else self.cosine[others.to(self.cosine.device)],
            present=self.features[present.to(device)],
            saliency=saliency and Saliency(saliency.attention[:, there], saliency.keys[there]),
            text=self.text,
        )
