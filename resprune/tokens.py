"""The visual tokens of one image, as every method sees them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from resprune.selection import gram_matrix


@dataclass(frozen=True)
class VisualTokens:
    """The candidates of one image: its projected patches, without structural tokens such as newlines.

    Attributes:
        features: ``[N, D]`` projected visual tokens, in the language model's input-embedding space.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each; tile 0 is the whole picture.
        relevance: ``[N]`` float32 in ``(0, 1]``, how relevant each is to the question; ``None`` where the question
            names nothing.
        known_gram: :attr:`gram`, where it has come to the host already.
        present: ``[P, D]`` features of tokens that stay anyway and are no candidates; ``None`` where there are none.
    """

    features: torch.Tensor
    coords: torch.Tensor
    relevance: torch.Tensor | None = None
    present: torch.Tensor | None = None
    known_gram: np.ndarray | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    @cached_property
    def gram(self) -> np.ndarray:
        """``[N, N]`` float32 inner products on the host, made once for all who ask; nobody may change it."""
        return gram_matrix(self.features) if self.known_gram is None else self.known_gram
