"""A question about a picture, encoded once and ready for any number of answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.compare.generation import explained
from resprune.device import device_of, now_ms
from resprune.errors import InputError
from resprune.images import OpenedImage
from resprune.question import build_inputs
from resprune.seam import Images, encode


@dataclass(frozen=True)
class EncodedQuestion:
    """A question about a picture. N is the number of visual tokens that are patches of it.

    Attributes:
        inputs: what ``generate`` needs, the encoded picture in place of its pixels.
        coords: ``(tile, row, col)`` of each of the N tokens.
        features: ``[N, D]`` projected visual tokens, on the device of the model.
        ms: what the encoding took.
        notes: sentences for the user about the picture.
    """

    inputs: dict[str, Any]
    coords: list[tuple[int, int, int]]
    features: torch.Tensor
    ms: float
    notes: list[str]

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: PreTrainedModel, processor: ProcessorMixin, opened: OpenedImage, question: str, max_new_tokens: int
    ) -> "EncodedQuestion":
        """Encode a picture.

        Raises:
            InputError: if the question, or an answer of ``max_new_tokens`` to it, is too long, or memory does not
                suffice.
        """
        device = device_of(model)
        start = now_ms(device)
        inputs = build_inputs(processor, opened.image, question).to(device, dtype=model.dtype)
        check_room(model, inputs, max_new_tokens)
        try:
            output = encode(model, inputs)
        except Exception as error:
            raise explained(error) from None
        ms = now_ms(device) - start
        images = Images.of(model, output, inputs)
        (coords,), (features,) = images.coords, images.features
        patches = coords[:, 0] >= 0
        # Encoded pictures take the place of the pixels: generate() refuses to be given both.
        rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
        return cls(
            inputs=rest | {"mm_encoder_outputs": {"image": output}},
            coords=[tuple(place) for place in coords[patches].tolist()],
            features=features[patches.to(features.device)],
            ms=ms,
            notes=opened.notes,
        )


def check_room(model: PreTrainedModel, inputs: Mapping[str, Any], max_new_tokens: int) -> None:
    """Refuse a prompt, or an answer of ``max_new_tokens`` to it, that is too long.

    Raises:
        InputError: if it is.
    """
    room = model.config.get_text_config().max_position_embeddings
    if (length := inputs["input_ids"].shape[1]) + max_new_tokens > room:
        raise InputError(
            f"The picture and the question take {length} tokens and the answer up to {max_new_tokens}, but the "
            f"model has room for {room}; shorten the question."
        )
