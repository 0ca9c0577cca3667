"""Mass: a kept token carries the weight of those it stands for.

Dropping a token drops its share of every softmax too. If m tokens were the same and one of them is kept, adding
``log(m)`` to the attention logit of the one gives what all of them gave. So each dropped token is counted to the kept
one nearest to it, if the two are alike enough, and every attention layer adds the logarithm of that count. ToMe (arXiv
2210.09461) calls it proportional attention; ERA (arXiv 2606.31982) repairs large vision-language models with it. It is
not part of the ResPrune paper. That the two must be alike is ours: in a picture of forty things of which eight tokens
stay, most things have none left, and counting them to one of another thing makes the model see more of that.

The bias is part of the mask, which each layer adds to its logits after all that it does to them: capped logits too are
those of the plain model.

The mask also keeps sliding windows true to the caller's prompt: a window of 1024 columns is one of 1024 that were
written, not of those that were sent.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import PreTrainedConfig, PreTrainedModel

from resprune.device import sent
from resprune.errors import InputError
from resprune.seam.attention import Attended, Attention, Call, States, under_way
from resprune.seam.fused import Fused
from resprune.seam.masks import added, seen, seen_by_the_last, square
from resprune.seam.shorten import Shortened
from resprune.seam.windows import Windows

_STEPS = 256  # columns after the prompt for which there is room at once


class _Carrying(Call):
    """A call whose masks hold a bias, or windows of the caller's columns.

    Attributes:
        asked: whether the model asked for a mask.
    """

    def __init__(self, config: PreTrainedConfig, bias: torch.Tensor | None, windows: Windows | None) -> None:
        super().__init__(config)
        self.asked = False
        self._bias, self._windows, self._fused = bias, windows, Fused()
        self._square = lru_cache(maxsize=4)(square)  # the masks of a forward pass, each for all its layers
        self._wanted: tuple | None = None  # rows, type and device of what follows:
        self._rows = torch.empty(0, 0)  # the bias of the columns so far, and of some that are to come

    def mask(self, stock: Callable[..., Any], options: dict[str, Any]) -> Any:
        self.asked = True
        windowed = self._windows is not None and self._windows.reached(options)
        if self._bias is None and not windowed:
            return stock(**options)
        by_kernels = not windowed and not torch.compiler.is_compiling()
        if by_kernels and (row := seen_by_the_last(options)) is not None:
            return added(row, self._of_keys(options), options["dtype"])
        visible = seen(self._windows.options(options) if windowed else options)
        return added(visible, 0.0 if self._bias is None else self._of_keys(options), options["dtype"])

    def attend(self, attention: Attention, module: nn.Module, states: States, mask: Any, **options: Any) -> Attended:
        if not (isinstance(mask, torch.Tensor) and mask.ndim == 4 and mask.is_floating_point()):
            return attention.stock(module, *states, mask, **options)  # the mask is none of ours
        if self._windows is not None and getattr(module, "sliding_window", None):
            mask = self._windows.over(mask)
        if attention.is_product(options) and (kernel := self._fused.kernel_for(states, mask)):
            return kernel(states, mask, options.get("scaling")), None
        if mask.shape[2] < states.query.shape[2]:
            mask = self._square(mask, states.query.shape[2])
        return attention.masked(module, states, mask, **options)

    def _of_keys(self, options: dict[str, Any]) -> torch.Tensor:
        """``[B, 1, 1, keys]`` for the keys of a mask with these options."""
        rows, dtype, device = wanted = tuple(options[name] for name in ("batch_size", "dtype", "device"))
        start = int(options["kv_offset"])
        end = start + options["kv_length"]
        if wanted != self._wanted or self._rows.shape[1] < end:  # once, not in each step
            bias = sent(self._bias, device).to(dtype).repeat_interleave(rows // len(self._bias), dim=0)
            self._wanted, self._rows = wanted, pad(bias, (0, max(0, end + _STEPS - bias.shape[1])))
        return self._rows[:, None, None, start:end]


@contextlib.contextmanager
def carried(model: PreTrainedModel, bias: torch.Tensor | None, shortened: Shortened | None = None) -> Iterator[None]:
    """Let the language model of ``model`` add ``bias`` to its attention logits within a ``with`` block.

    That holds for forward passes in this context; other threads may use the model meanwhile, and nothing of it changes.

    Args:
        model: of a supported family.
        bias: ``[B, L]`` float32, the logarithm of the mass of each column that is sent, 0 where it is 1; ``None``
            adds none.
        shortened: the prompt that is sent, whose columns sliding windows are to count.

    Raises:
        InputError: at the end, if the model attended in a way that cannot be told of the bias.
    """
    config = model.config.get_text_config(decoder=True)
    windowed = shortened if shortened is not None and shortened.lacks and _has_windows(model) else None
    if bias is None and windowed is None:
        yield
        return
    windows = None if windowed is None else Windows(windowed, config.sliding_window)
    call = _Carrying(config, bias, windows)
    with under_way(call):
        yield
    if not call.asked:
        raise InputError(
            f"The attention {config._attn_implementation!r} of this model, or its compiled form, does not ask "
            "transformers for a mask, so that mass and windows were lost; load the model with "
            "attn_implementation='sdpa', without torch.compile, or turn mass off."
        )


def _has_windows(model: PreTrainedModel) -> bool:
    return getattr(model.config.get_text_config(decoder=True), "sliding_window", None) is not None
