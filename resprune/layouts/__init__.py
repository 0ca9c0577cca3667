"""Where each visual token lies, per model family: the only code that knows one family from another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from resprune.errors import InputError, quoted
from resprune.layouts import anyres, flexible, single, tiled
from resprune.layouts.base import Layout, Made, Size, View, is_a, picture_size
from resprune.layouts.single import check_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


__all__ = [
    "LAYOUTS",
    "Layout",
    "View",
    "boxes",
    "check_ids",
    "check_processor",
    "check_whole",
    "image_token_of",
    "is_a",
    "layout_of",
    "picture_size",
    "without_images",
]

LAYOUTS: dict[str, Layout] = single.LAYOUTS | anyres.LAYOUTS | flexible.LAYOUTS | tiled.LAYOUTS
"""Families that can be pruned, by ``model.config.model_type``."""


def layout_of(model: PreTrainedModel) -> Layout:
    """The layout of a model's family.

    Raises:
        InputError: if the family has none, or ``model`` is not its class for generation.
    """
    family = getattr(getattr(model, "config", None), "model_type", None)
    layout = LAYOUTS.get(family)
    if layout is None or not is_a(model, layout.model):
        inside = _wrapped(model)
        if inside:
            raise InputError(f"A {type(model).__name__} cannot be pruned, but the model in it can; give {inside}.")
        supported = ", ".join(entry.model for entry in LAYOUTS.values())
        raise InputError(f"A {type(model).__name__} cannot be pruned; give one of these models: {supported}.")
    return layout


def _wrapped(outer: object) -> str | None:
    """How to get at the model that can be pruned inside a wrapper, such as PEFT's; ``None`` where there is none."""
    known = {layout.model for layout in LAYOUTS.values()}
    for name, module in getattr(outer, "named_modules", tuple)():
        if any(is_a(module, model) for model in known):
            return "model.get_base_model()" if hasattr(outer, "get_base_model") else f"model.{name}"
    return None


def image_token_of(processor: ProcessorMixin) -> int:
    """The token that stands for one visual token in a prompt."""
    # Gemma 3 calls the token that starts an image by this name; its tokenizer knows better.
    return getattr(processor.tokenizer, "image_token_id", None) or processor.image_token_id


def without_images(processor: ProcessorMixin, ids: list[int]) -> list[int]:
    """A prompt without its image tokens, and without the text by which a family names the tiles of a picture."""
    image_token, frame = image_token_of(processor), getattr(processor, "fake_image_token", None)
    if frame is None:
        return [token for token in ids if token != image_token]
    return tiled.unnamed(ids, image_token, processor.tokenizer.convert_tokens_to_ids(frame))


def check_processor(model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a processor that was not made for ``model``.

    Its text must fit the model's embedding. A special token may lie beyond it: some processors need one that the
    model was never given, for videos say, and no text becomes a special token unasked; see :func:`check_ids`.

    Raises:
        InputError: if its class, its image token, its vocabulary or what it makes of an image is another.
    """
    layout = layout_of(model)
    if not is_a(processor, layout.processor):
        raise InputError(f"A {layout.model} needs its {layout.processor}, not a {type(processor).__name__}.")
    rows, tokenizer = model.get_input_embeddings().num_embeddings, processor.tokenizer
    added = [token for token, known in tokenizer.added_tokens_decoder.items() if not known.special]
    fits = max([tokenizer.vocab_size - 1, *added]) < rows
    if image_token_of(processor) != model.config.image_token_id or not fits:
        raise InputError("The processor's vocabulary is not that of the model; load both from the same checkpoint.")
    if getattr(processor, "patch_size", 0) is None:
        patch = model.config.vision_config.patch_size
        raise InputError(
            f"The processor's patch_size is None; set processor.patch_size = {patch}, as the model has it."
        )
    made, wanted = layout.geometry(processor), layout.geometry(model)
    if made != wanted:
        raise InputError(f"The processor makes {made} and the model {wanted}; load both from the same checkpoint.")


def check_ids(model: PreTrainedModel, ids: torch.Tensor) -> None:
    """Refuse a prompt of tokens that the model does not have.

    Args:
        model: of a supported family.
        ids: ``[B, S]`` int64, on the CPU; image tokens may lie anywhere, since features take their place.

    Raises:
        InputError: if there is one beyond the rows of its embedding, or below 0.
    """
    rows = model.get_input_embeddings().num_embeddings
    if not ids.numel() or (ids.min() >= 0 and ids.max() < rows):
        return
    strange = ids[((ids < 0) | (ids >= rows)) & (ids != model.config.image_token_id)]
    if len(strange):
        raise InputError(
            f"The prompt has the token {int(strange[0])} and the model knows those from 0 to {rows - 1}; leave it out."
        )


def boxes(
    processor: ProcessorMixin,
    image_size: tuple[int, int],
    coords: torch.Tensor,
    *,
    every: torch.Tensor | None = None,
    model: PreTrainedModel | None = None,
) -> torch.Tensor:
    """Where patches lie in the picture as its owner sees it, before it was resized, padded, cropped and tiled.

    How many patches a picture becomes may be said anew in each call of a processor, as in ``max_pixels=...``. What was
    really made is read from the coordinates: where ``coords`` fill whole grids of the shape of the picture, two rows
    and columns or more, they are taken for all of its tokens. For some of them, give all as ``every``; else the
    processor's own settings count.

    Args:
        processor: of a supported family.
        image_size: (width, height) of the picture in pixels, as in ``PIL.Image.Image.size``.
        coords: ``[N, 3]`` int64, ``(tile, row, col)`` of each patch.
        every: ``[M, 3]`` int64, those of all patches of the picture, such as ``PruneResult.coords``.
        model: of the processor. It is needed only where patches leave pixels of an image over, more than a row has
            tokens, and the processor does not know how large a patch is; no published checkpoint is such a one.

    Returns:
        ``[N, 4]`` float32, ``(x0, y0, x1, y1)`` of each patch in pixels of that picture. A patch of the padding around
        a picture lies outside it.

    Raises:
        InputError: if the processor is of no supported family, ``image_size`` is no size, or no such patches are made
            of such a picture.
    """
    layout = next((layout for layout in LAYOUTS.values() if is_a(processor, layout.processor)), None)
    if layout is None:
        raise InputError(f"The patches of a {type(processor).__name__} are not known.")
    size, coords = picture_size(image_size), _coordinates(coords, "coords")
    token = layout.token(model) if model is not None and layout.token else None
    views = _views(partial(layout.views, processor), size, coords, every, token)
    missing = set(coords[:, 0].tolist()) - views.keys()
    if missing:
        raise InputError(
            f"A picture of {size[0]} x {size[1]} pixels has no tile {min(missing)}; "
            "give the coordinates of its own tokens."
        )
    corners = coords.new_zeros(len(coords), 4, dtype=torch.float64)
    for tile, view in views.items():
        here = coords[:, 0] == tile
        places, (down, across) = coords[here, 1:], view.shape
        if ((places < 0) | (places >= coords.new_tensor(view.shape))).any():
            raise InputError(
                f"A picture of {size[0]} x {size[1]} pixels has {down} x {across} tokens in tile {tile}; "
                "where a call made others of it, give the coordinates of all of them as every."
            )
        rows, cols = view.rows[places[:, 0]], view.cols[places[:, 1]]
        corners[here] = torch.stack([cols[:, 0], rows[:, 0], cols[:, 1], rows[:, 1]], dim=1)
    return corners.float()


def _views(
    of: Callable[[Size, Made], dict[int, View]],
    size: Size,
    coords: torch.Tensor,
    every: torch.Tensor | None,
    token: int | None,
) -> dict[int, View]:
    """The views of a picture as a call made them; as the processor would by itself where the coordinates do not tell.

    Raises:
        InputError: if ``every`` are tokens of no such picture.
    """
    shapes = _shapes(coords if every is None else _coordinates(every, "every"))
    # A few tokens at the beginning fill a small grid as well, but hardly anybody gives such a picture.
    if shapes and (every is not None or min(map(min, shapes.values())) > 1):
        made = of(size, Made(shapes, token))
        if all(tile in made and made[tile].shape == shape for tile, shape in shapes.items()):
            return made
    if every is not None:
        grids = ", ".join(f"{rows} x {cols}" for rows, cols in (shapes or {}).values()) or "such"
        raise InputError(
            f"No picture of {size[0]} x {size[1]} pixels is seen as {grids} tokens; give the size of the picture that "
            "they show, and all of its tokens."
        )
    return of(size, Made(token=token))


def _shapes(coords: torch.Tensor) -> dict[int, Size] | None:
    """Rows and columns of each tile; ``None`` where coordinates do not fill whole grids, and so are not all."""
    shapes: dict[int, Size] = {}
    for tile in coords[:, 0].unique().tolist():
        places = coords[coords[:, 0] == tile, 1:]
        rows, cols = (places.amax(dim=0) + 1).tolist()
        if len(places) != rows * cols or places.amin() < 0 or len(places.unique(dim=0)) != rows * cols:
            return None
        shapes[tile] = (rows, cols)
    return shapes or None


def _coordinates(given: Any, name: str) -> torch.Tensor:
    """``[N, 3]`` int64, of a tensor, an array or a list such as ``PruneResult.kept``."""
    try:
        coords = torch.as_tensor(given, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        coords = torch.zeros(1, device="cpu")
    if coords.numel() == 0:
        return torch.zeros(0, 3, dtype=torch.int64, device="cpu")
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.is_floating_point() or coords.dtype == torch.bool:
        raise InputError(f"{name} are {quoted(given)}; give (tile, row, col) of each token, in whole numbers.")
    return coords.long()
