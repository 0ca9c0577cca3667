"""Sliding windows of a shortened prompt: they count the columns that the caller wrote, not those that were sent."""

from functools import lru_cache
from typing import Any

import torch

from resprune.seam.masks import aligned
from resprune.seam.shorten import Shortened


class Windows:
    """Those of one call.

    Models with windows make their masks in two ways, which differ in what becomes of tokens that see each other both
    ways, as those of an image. Most give the mask its window, and what is seen both ways is seen beyond that too
    (PaliGemma 2). Gemma 3 makes a mask like any other and puts the window over all of it: which layers have one is then
    known only when they attend.

    Args:
        shortened: the prompt that is sent.
        width: how many columns a window has.
    """

    def __init__(self, shortened: Shortened, width: int) -> None:
        self._shortened, self._width = shortened, width
        self._start = -1  # the first query of the latest forward pass, of whose masks this is, by their shapes:
        self._columns: dict[torch.Size, tuple[torch.Tensor, torch.Tensor]] = {}
        self._told: set[torch.Size] = set()
        self._near = lru_cache(maxsize=4)(_near)  # the masks of a forward pass, each for all layers with a window

    def reached(self, options: dict[str, Any]) -> bool:
        """Whether the columns written so far are more than a window, for a mask with these options."""
        after = int(options["q_offset"]) + options["q_length"] - self._shortened.columns.shape[1]
        return self._shortened.length + max(0, after) > self._width

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a mask, with its window, where it has been given one, over the caller's columns."""
        (asking, asks), (asked, keys) = (
            (int(options[f"{side}_offset"]), options[f"{side}_length"]) for side in ("q", "kv")
        )
        columns = self._shortened.repeated(options["batch_size"]).in_cache(max(asking + asks, asked + keys))
        if asking != self._start:
            self._start = asking
            self._columns.clear()
            self._told.clear()
        columns, shape = columns.to(options["device"]), torch.Size((asks, keys))
        self._columns[shape] = columns[:, asking : asking + asks], columns[:, asked : asked + keys]
        if options.get("local_size") is None:
            return options
        self._told.add(shape)
        inner = options["mask_function"]

        def visible(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            near = columns[row, key] > columns[row, query] - self._width
            return inner(row, head, query, key) & (near | inner(row, head, key, query))

        return options | {"mask_function": visible}

    def over(self, mask: torch.Tensor) -> torch.Tensor:
        """The mask of numbers ``[B, 1, queries, keys]`` of a layer with a window, which then lies over it."""
        shape = mask.shape[-2:]
        if shape in self._told or shape not in self._columns:
            return mask
        return self._near(mask, *self._columns[shape], self._width)


def _near(mask: torch.Tensor, asking: torch.Tensor, asked: torch.Tensor, width: int) -> torch.Tensor:
    """The mask without what is a window or more before the columns ``[B, queries]`` that ask ``[B, keys]``."""
    beyond = asked[:, None] <= asking[:, :, None] - width
    return aligned(mask.masked_fill(beyond[:, None].to(mask.device), torch.finfo(mask.dtype).min))
