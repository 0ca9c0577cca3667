"""What a model's image encoder gives: cut into images for pruning, put back in the model's own form after it."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from math import gcd
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput

from resprune.device import sent
from resprune.errors import InputError
from resprune.layouts import layout_of
from resprune.methods import Saliency
from resprune.seam.arguments import arguments_of
from resprune.seam.saliency import watched


@torch.no_grad()
def encode(model: PreTrainedModel, inputs: Mapping[str, Any]) -> ModelOutput:
    """Encode images once, for any number of calls: ``generate(..., mm_encoder_outputs={"image": encode(...)})``.

    Args:
        model: of a supported family, attached or not.
        inputs: what the processor made; ``pixel_values`` is then not to be given to ``generate``.

    Returns:
        ``pooler_output`` as the model's ``get_image_features`` makes it, a list of ``[n, D]`` or a tensor
        ``[tiles, n, D]`` of projected visual tokens, and ``deepstack_features`` where it has them. Its attribute
        ``saliency`` is a list of :class:`resprune.methods.Saliency`, one an image, empty where the model has none.

    Raises:
        InputError: if there are no images in ``inputs``.
    """
    return encoded(model, inputs, attends=True)


def encoded(model: PreTrainedModel, inputs: Mapping[str, Any], attends: bool) -> ModelOutput:
    """:func:`encode`, with the saliency only if some method ``attends`` to it."""
    if inputs.get("pixel_values") is None:
        raise InputError("There is no image in the inputs; give the processor one.")
    encoder = model.base_model.get_image_features
    known = arguments_of(encoder) - {"kwargs"}
    with watched(model) if attends else nullcontext([]) as saliency:
        output = encoder(**{name: inputs[name] for name in known & inputs.keys()}, return_dict=True)
    # The rest, such as the hidden states of the vision tower, is large and has served.
    pooled = output.pooler_output
    made = _output(pooled if isinstance(pooled, torch.Tensor) else list(pooled), _deepstack(output), type(output))
    made.saliency = saliency
    return made


def joined(outputs: Sequence[ModelOutput]) -> ModelOutput:
    """Several outputs of :func:`encode`, of one model, as one of all their images: as if they were encoded at once."""
    pooled = [output.pooler_output for output in outputs]
    stacked = isinstance(pooled[0], torch.Tensor)
    pieces = torch.cat(pooled) if stacked else [piece for each in pooled for piece in each]
    layers = [list(chain.from_iterable(layer)) for layer in zip(*map(_deepstack, outputs), strict=True)]
    made = _output(pieces, layers, type(outputs[0]))
    made.saliency = [one for output in outputs for one in getattr(output, "saliency", [])]
    return made


@dataclass(frozen=True)
class Images:
    """The visual tokens of the images of a call, in the order of the prompts.

    Attributes:
        features: ``[n, D]`` of each image.
        coords: ``[n, 3]`` int64 of each image, ``(tile, row, col)``, see :class:`resprune.layouts.Layout`.
        deepstack: ``[sum of n, D]`` for each layer of the language model that is given features of its own.
        saliency: of each image, or ``None``.
        stacked: whether the model wants one tensor rather than a list.
        kind: class of the encoder's output.
    """

    features: list[torch.Tensor]
    coords: list[torch.Tensor]
    deepstack: list[torch.Tensor]
    saliency: list[Saliency | None]
    stacked: bool
    kind: type[ModelOutput]

    @classmethod
    def of(cls, model: PreTrainedModel, output: ModelOutput, inputs: Mapping[str, Any]) -> "Images":
        """Those of an encoder's output, and of the inputs that belong to it.

        Raises:
            InputError: if the inputs tell of other images.
        """
        pooled = output.pooler_output
        coords = layout_of(model).coords(model, pooled, inputs)
        lengths, tokens = [len(places) for places in coords], _flat(pooled)
        if sum(lengths) != len(tokens):
            raise InputError(
                f"The images are {len(tokens)} visual tokens, but by their sizes and the prompts they would be "
                f"{lengths}; do not truncate prompts, and give all that the processor made of the images."
            )
        deepstack = [_flat(layer) for layer in _deepstack(output)]
        saliency = getattr(output, "saliency", None) or [None] * len(coords)
        stacked = isinstance(pooled, torch.Tensor)
        return cls(list(tokens.split(lengths)), coords, deepstack, saliency, stacked, type(output))

    def kept(self, stays: list[torch.Tensor], rows: list[int]) -> ModelOutput:
        """The output of the encoder for the tokens that are sent.

        Args:
            stays: of each image the int64 indices of those tokens.
            rows: how many of them stand in each row of the batch.
        """
        if self.stacked:
            # Images keep different numbers of tokens, a tensor has but one. Pieces of a length that divides every
            # row let generate() repeat the rows for beams, which looks for where each ends.
            length = gcd(*rows)
            lengths = [length] * (sum(rows) // length)
        else:
            lengths = [len(indices) for indices in stays]

        def pieces(images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            kept = [values[sent(indices, values.device)] for values, indices in zip(images, stays, strict=True)]
            return list(torch.cat(kept).split(lengths))

        pooled = pieces(self.features)
        layers = [pieces(layer.split([len(tokens) for tokens in self.features])) for layer in self.deepstack]
        return _output(torch.stack(pooled) if self.stacked else pooled, layers, self.kind)


def _output(
    pooled: list[torch.Tensor] | torch.Tensor, deepstack: list[list[torch.Tensor]], kind: type[ModelOutput]
) -> ModelOutput:
    if deepstack:
        # Only some models have such a class, each its own.
        return kind(pooler_output=pooled, deepstack_features=deepstack)
    return BaseModelOutputWithPooling(pooler_output=pooled)


def _deepstack(output: ModelOutput) -> list[list[torch.Tensor]]:
    return [list(layer) for layer in getattr(output, "deepstack_features", None) or []]


def _flat(pieces: list[torch.Tensor] | torch.Tensor) -> torch.Tensor:
    """``[tokens, D]``, all pieces one after the other."""
    return torch.cat([piece.flatten(0, -2) for piece in pieces])
