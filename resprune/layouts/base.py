"""What a family of models says of itself, and the pieces that families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from resprune.errors import InputError, quoted
from resprune.options import is_number, plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


STRUCTURAL = -1  # in place of a tile: tokens that lie nowhere in the picture, such as CLS and newlines

Encoded = Sequence[torch.Tensor] | torch.Tensor


Size = tuple[int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """A part of a picture that a model sees as one grid of tokens, in pixels of the picture.

    Padding lies outside the picture. Between two rows or columns there may be a gap: pixels that no patch shows.

    Attributes:
        rows: ``[R, 2]`` float64, top and bottom of each row of tokens.
        cols: ``[C, 2]`` float64, left and right of each column.
    """

    rows: torch.Tensor
    cols: torch.Tensor

    @classmethod
    def even(cls, box: Box, rows: int, cols: int) -> View:
        """One that is evenly spread over a box ``(x0, y0, x1, y1)``."""
        x0, y0, x1, y1 = box
        return cls(_spread(y0, y1, rows), _spread(x0, x1, cols))

    @property
    def shape(self) -> Size:
        """Rows and columns."""
        return len(self.rows), len(self.cols)


@dataclass(frozen=True)
class Made:
    """What is known of a call beyond what its processor says by itself.

    Attributes:
        shapes: ``{tile: (rows, cols)}`` of all tokens of a picture; ``None`` where only the processor tells, which a
            call may have overruled.
        token: pixels along a token, as the model has it; ``None`` where the model is not at hand.
    """

    shapes: Mapping[int, Size] | None = None
    token: int | None = None

    def covered(self, pixels: int, tokens: int) -> int:
        """How many of ``pixels`` along what a model sees are shown by so many tokens: patches drop what is left over.

        Without the model tokens are taken to be as large as whole pixels allow, which they are wherever fewer pixels
        are left over than there are tokens, as in all checkpoints that are published.
        """
        return tokens * (self.token or pixels // tokens)


@dataclass(frozen=True)
class Layout:
    """One family of models.

    Attributes:
        model: name of its class in transformers.
        processor: name of its processor's class.
        geometry: what a model, and a processor, make of an image, in words; the two agree where they belong together.
        coords: ``(model, pooler_output, inputs) -> [[n, 3] int64, ...]``, one tensor an image: ``(tile, row, col)`` of
            each of its visual tokens, in the order of the prompt. ``pooler_output`` is what the model's
            ``get_image_features`` returns, ``inputs`` what the processor made. Tile 0 is the whole picture, others
            show it in more detail; :data:`STRUCTURAL` marks a token that is never a candidate and always stays.
        views: ``(processor, (width, height), made) -> {tile: View}`` of a picture of that size in pixels.
        token: pixels along a token, by the model; ``None`` where tokens leave no pixel over.
    """

    model: str
    processor: str
    geometry: Callable[[PreTrainedModel | ProcessorMixin], str]
    coords: Callable[[PreTrainedModel, Encoded, Mapping[str, Any]], list[torch.Tensor]]
    views: Callable[[ProcessorMixin, Size, Made], dict[int, View]]
    token: Callable[[PreTrainedModel], int] | None = None


def is_a(thing: object, name: str) -> bool:
    """Whether a class of that name made ``thing``; by name, so that no family's modules load before it is used."""
    return any(cls.__name__ == name for cls in type(thing).__mro__)


def grid(rows: int, cols: int, tile: int = 0) -> torch.Tensor:
    """``[rows * cols, 3]`` int64, the coordinates of one grid, row by row."""
    row, col = torch.meshgrid(torch.arange(rows, device="cpu"), torch.arange(cols, device="cpu"), indexing="ij")
    return torch.stack([torch.full_like(row, tile), row, col], dim=-1).reshape(-1, 3)


def picture_size(given: Any) -> Size:
    """(width, height) of a picture in pixels, of a tuple, a list, an array or a tensor.

    Raises:
        InputError: if it is no such thing.
    """
    values = plain(given)
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 2:
        raise InputError(f"image_size is {quoted(given)}; give (width, height) of the picture in pixels.")
    values = [plain(value) for value in values]
    if not all(is_number(value) and value >= 1 and value == int(value) for value in values):
        raise InputError(f"image_size is {quoted(given)}; give (width, height) in whole pixels, each 1 or more.")
    return int(values[0]), int(values[1])


def whole(image_size: Size, rows: int, cols: int, share: float = 1) -> View:
    """A view of all of a picture, however it was stretched, or of a share of its width and height from the left top."""
    width, height = image_size
    return View.even((0, 0, share * width, share * height), rows, cols)


def _spread(low: float, high: float, count: int) -> torch.Tensor:
    """``[count, 2]``, the ends of so many equal parts."""
    ends = low + (high - low) * torch.arange(count + 1, dtype=torch.float64, device="cpu") / count
    return torch.stack([ends[:-1], ends[1:]], dim=1)


def told(processor: ProcessorMixin, name: str) -> Any:
    """A setting of a processor without which nobody can say where tokens lie.

    Raises:
        InputError: if it is ``None``.
    """
    value = getattr(processor, name)
    if value is None:
        raise InputError(f"The processor's {name} is None; set processor.{name} to what the model has.")
    return value


def needed(inputs: Mapping[str, Any], name: str) -> torch.Tensor:
    """An input without which nobody can say where tokens lie.

    Raises:
        InputError: if it is missing.
    """
    if inputs.get(name) is None:
        raise InputError(f"The inputs have no {name}; give all that the processor made of the images.")
    return torch.as_tensor(inputs[name], device="cpu")
