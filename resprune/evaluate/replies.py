"""Asking a model the questions of a set: greedy answers, each picture encoded once."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from resprune.attachment import pruned
from resprune.compare import complete
from resprune.device import PrefillTimer
from resprune.evaluate.examples import Example
from resprune.layouts import image_token_of
from resprune.question import build_inputs
from resprune.seam import encode
from resprune.settings import Settings


@dataclass(frozen=True)
class Reply:
    """An answer, and what was read for it.

    Attributes:
        text: of the answer.
        kept: visual tokens that the language model read, where its layers differ the mean over them.
        select_ms: choosing them; 0 where all were read.
        prefill_ms: the language model's first forward pass.
    """

    text: str
    kept: float
    select_ms: float
    prefill_ms: float


class Replies:
    """Answers by one model; the encoding of the latest picture is kept for its other questions.

    Args:
        model: with nothing attached.
        processor: that belongs to it.
        max_new_tokens: at most, an answer.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, max_new_tokens: int = 64) -> None:
        self.model, self.processor, self.max_new_tokens = model, processor, max_new_tokens
        self._scene: int | None = None
        self._encoded: Any = None

    @torch.no_grad()
    def to(self, example: Example, settings: Settings | None = None) -> Reply:
        """Answer a question; ``settings`` say how to prune, ``None`` keeps every token."""
        model = self.model
        inputs = build_inputs(self.processor, example.image, example.question).to(model.device, dtype=model.dtype)
        if example.scene != self._scene:
            self._scene, self._encoded = example.scene, encode(model, inputs)
        inputs.pop("pixel_values")
        given: Mapping[str, Any] = {"max_new_tokens": self.max_new_tokens, "do_sample": False}
        with (
            pruned(model, self.processor, **vars(settings)) if settings else contextlib.nullcontext(),
            PrefillTimer(model.get_decoder(), model.device) as prefill,
        ):
            output = model.generate(**inputs, mm_encoder_outputs={"image": self._encoded}, **given)
            last = model.resprune.last if settings else []
        text = complete(self.processor.tokenizer, output[0, inputs["input_ids"].shape[1] :].tolist())
        total = int((inputs["input_ids"] == image_token_of(self.processor)).sum())
        kept = sum(result.average or result.tokens_kept for result in last) if last else total
        return Reply(text, kept, sum(result.select_ms for result in last), prefill.ms or 0.0)


def weights_of(model: PreTrainedModel) -> str:
    """What other weights would not give: a hash of some of each matrix, the same in every type that holds them."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().flatten()[:256].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
