"""The model that lmms-eval asks: a stock checkpoint whose ``generate`` prunes."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from PIL import Image
from tqdm import tqdm
from transformers import BatchFeature

from resprune.attachment import attach
from resprune.compare import complete
from resprune.errors import InputError
from resprune.images import checked_question, open_image
from resprune.lmms.arguments import Arguments
from resprune.models import load
from resprune.question import build_inputs, holds_control

MOST_NEW_TOKENS = 1024  # where a task does not say; lmms-eval's own LLaVA takes as many


class Pruned(lmms):
    """Answers lmms-eval's questions with pruned visual tokens, one at a time.

    Args:
        given: ``pretrained``, ``quantization``, ``dtype``, ``device`` and the settings of pruning, see
            :class:`resprune.lmms.arguments.Arguments`.

    Raises:
        InputError: if an argument is wrong, before anything is loaded; or if the model cannot be loaded.
    """

    family: str | None = None
    default = "bundled"

    def __init__(self, **given: Any) -> None:
        super().__init__()
        asked = Arguments.of(self.default, given)
        asked.check_family(self.family)
        self._model, self._processor = load(
            asked.pretrained, quantization=asked.quantization, device=asked.device, dtype=asked.dtype
        )
        asked.check_family(self.family, self._model.config.model_type)
        attach(self._model, self._processor, **vars(asked.settings))
        self.device = self._model.device
        self.batch_size = 1
        self._spent = Counter()

    def generate_until(self, requests: list[Instance]) -> Iterator[GenerationResult]:
        """Answers, each handed over as it is there: with ``--use_cache`` lmms-eval writes it down before the next.

        Raises:
            InputError: if a question cannot be asked; which one is said.
        """
        self._spent.clear()
        for number, request in enumerate(tqdm(requests, desc="Questions", disable=self.rank != 0), 1):
            context, options, doc_to_visual, doc_id, task, split = request.args
            try:
                result = self._answer(context, doc_to_visual(self.task_dict[task][split][doc_id]) or [], options)
            except InputError as error:
                raise InputError(f"Question {doc_id} of the task {task!r} cannot be asked. {error}") from error
            if number == len(requests):  # now: nobody asks for more than there are
                self._report(number)
            yield result

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Refused: lmms-eval's models disagree about what it is, some return a loss.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"The task {requests[0].task_name!r} asks how likely given answers are, which this model does not say; "
            "choose a task whose output_type is generate_until."
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> NoReturn:
        """Refused.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"The task {requests[0].task_name!r} asks in several rounds, which this model does not do; choose a task "
            "whose output_type is generate_until."
        )

    @torch.no_grad()
    def _answer(self, context: str, visuals: Sequence[Any], options: dict[str, Any]) -> GenerationResult:
        inputs = self._inputs(context, visuals).to(self._model.device, dtype=self._model.dtype)
        start = time.perf_counter()
        output = self._model.generate(**inputs, **_generation(options))
        new = output[0, inputs["input_ids"].shape[1] :]
        text = complete(self._processor.tokenizer, new.tolist())
        self._spent["seconds"] += time.perf_counter() - start
        self._spent["tokens"] += len(new)
        for result in self._model.resprune.last:
            self._spent["total"] += result.tokens_total
            self._spent["kept"] += result.tokens_kept
            self._spent["selection_ms"] += result.select_ms
        return GenerationResult(_until(text, options).strip(), TokenCounts(output_tokens=len(new)))

    def _inputs(self, context: str, visuals: Sequence[Any]) -> BatchFeature:
        """The prompt: the pictures, then the text, by the checkpoint's own chat template."""
        if not all(isinstance(visual, Image.Image) for visual in visuals):
            raise InputError("It comes with a video or a sound, but only pictures are pruned; choose another task.")
        images, question = [open_image(visual).image for visual in visuals], checked_question(context)
        if len(images) == 1:
            return build_inputs(self._processor, images[0], question)
        if holds_control(self._processor, question):
            raise InputError(f"It has {len(images)} pictures and a special token in its text; choose another task.")
        content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": question}]
        return self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def _report(self, questions: int) -> None:
        """Put what was kept beside lmms-eval's other figures: a run that did not prune would show."""
        spent = self._spent
        log_metrics(
            total_elapsed_time=spent["seconds"],
            total_gen_tokens=spent["tokens"],
            avg_speed=spent["tokens"] / max(spent["seconds"], 1e-9),
            additional_metrics={
                "total_requests": questions,
                "visual_tokens": spent["total"] / questions,
                "visual_tokens_kept": spent["kept"] / questions,
                "selection_ms": spent["selection_ms"] / questions,
            },
        )


class PrunedLlava(Pruned):
    """LLaVA-1.5."""

    family, default = "llava", "llava-hf/llava-1.5-7b-hf"


class PrunedLlavaNext(Pruned):
    """LLaVA-NeXT."""

    family, default = "llava_next", "llava-hf/llava-v1.6-vicuna-7b-hf"


class PrunedQwen2_5VL(Pruned):
    """Qwen2.5-VL."""

    family, default = "qwen2_5_vl", "Qwen/Qwen2.5-VL-7B-Instruct"


def _generation(options: dict[str, Any]) -> dict[str, Any]:
    """What ``generate`` takes of a task's generation options: greedy, unless they ask for a temperature."""
    temperature = options.get("temperature") or 0
    chosen = {
        "max_new_tokens": options.get("max_new_tokens", MOST_NEW_TOKENS),
        "num_beams": options.get("num_beams") or 1,
        "do_sample": temperature > 0,
    }
    if temperature > 0:
        chosen |= {name: options[name] for name in ("temperature", "top_p", "top_k") if options.get(name) is not None}
    return chosen


def _until(text: str, options: dict[str, Any]) -> str:
    """The text up to the first of the task's stop strings."""
    stops = options.get("until") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop, 1)[0] if stop else text
    return text
