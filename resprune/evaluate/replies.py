"""Asking a model the questions of a set: greedy answers, each picture encoded once."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BatchFeature, PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import ModelOutput

from resprune.attachment import pruned
from resprune.compare import complete, ends_of
from resprune.device import PrefillTimer
from resprune.evaluate.examples import Example
from resprune.layouts import image_token_of
from resprune.question import build_inputs, collate
from resprune.seam import encode, joined
from resprune.settings import Settings

_ALL = Settings(1.0, "uniform")  # of a row that keeps every token, beside rows that do not


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
    """Answers by one model; the encodings of the latest pictures are kept for their other questions.

    Args:
        model: with nothing attached.
        processor: that belongs to it.
        max_new_tokens: at most, an answer.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, max_new_tokens: int = 64) -> None:
        self.model, self.processor, self.max_new_tokens = model, processor, max_new_tokens
        self._encoded: dict[int, ModelOutput] = {}

    def to(self, example: Example, settings: Settings | None = None) -> Reply:
        """Answer a question; ``settings`` say how to prune, ``None`` keeps every token."""
        return self.to_all([(example, settings)])[0]

    @torch.no_grad()
    def to_all(self, asked: Sequence[tuple[Example, Settings | None]]) -> list[Reply]:
        """Answer questions in one batch, each as :meth:`to` does, up to rounding.

        Those of methods whose tokens leave inside the model are asked by themselves. The time of a prefill is divided
        among the questions that share it.
        """
        model = self.model
        made = [build_inputs(self.processor, example.image, example.question) for example, _ in asked]
        made = [inputs.to(model.device, dtype=model.dtype) for inputs in made]
        self._encode([example.scene for example, _ in asked], made)
        for inputs in made:
            inputs.pop("pixel_values")
        shared: list[int] = []
        runs = [shared]
        for number, (_, settings) in enumerate(asked):
            if settings and settings.method.inside:
                runs.append([number])
            else:
                shared.append(number)
        replies = {}
        for run in filter(None, runs):
            found = self._run([asked[number] for number in run], [made[number] for number in run])
            replies |= zip(run, found, strict=True)
        return [replies[number] for number in range(len(asked))]

    def _run(self, asked: Sequence[tuple[Example, Settings | None]], made: Sequence[BatchFeature]) -> list[Reply]:
        """Answers of one run of ``generate``."""
        model, tokenizer = self.model, self.processor.tokenizer
        inputs = collate(made, tokenizer) if len(made) > 1 else made[0]
        images = [self._encoded[example.scene] for example, _ in asked]
        given: dict[str, Any] = {
            "mm_encoder_outputs": {"image": joined(images) if len(images) > 1 else images[0]},
            "max_new_tokens": self.max_new_tokens,
            "do_sample": False,
        }
        each = [settings for _, settings in asked]
        prunes = any(each)
        if prunes:
            given["resprune"] = [settings or _ALL for settings in each] if len(each) > 1 else each[0]
        with (
            pruned(model, self.processor) if prunes else contextlib.nullcontext(),
            PrefillTimer(model.get_decoder(), model.device) as prefill,
        ):
            output = model.generate(**inputs, **given)
            results = model.resprune.last if prunes else [None] * len(asked)
        ids, length = inputs["input_ids"], inputs["input_ids"].shape[1]
        totals = (ids == image_token_of(self.processor)).sum(dim=1).tolist()
        ms = (prefill.ms or 0.0) / len(asked)
        return [
            Reply(
                text=complete(tokenizer, self._ended(row[length:].tolist())),
                kept=(result.average or result.tokens_kept) if result and settings else total,
                select_ms=result.select_ms if result and settings else 0.0,
                prefill_ms=ms,
            )
            for row, result, settings, total in zip(output, results, each, totals, strict=True)
        ]

    def _encode(self, scenes: Sequence[int], made: Sequence[BatchFeature]) -> None:
        """Have the encodings of the pictures of a batch, and of no others."""
        known, self._encoded = self._encoded, {}
        for scene, inputs in zip(scenes, made, strict=True):
            if scene not in self._encoded:
                self._encoded[scene] = known[scene] if scene in known else encode(self.model, inputs)

    def _ended(self, ids: list[int]) -> list[int]:
        """Without what follows the end of an answer that is shorter than others of its batch."""
        ends = ends_of(self.model)
        return ids[: next((place for place, token in enumerate(ids, 1) if token in ends), len(ids))]


def weights_of(model: PreTrainedModel) -> str:
    """What other weights would not give: a hash of some of each matrix, the same in every type that holds them."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().flatten()[:256].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
