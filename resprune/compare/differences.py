"""Where two answers part: how much pruning changes the probability of each token of the full answer.

The full answer is forced upon the model token by token, once with all visual tokens and once with those that are kept
(teacher forcing), through the same ``generate`` that answers. So what is compared are the very probabilities from which
either side would choose its next word, whatever the family.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    StoppingCriteriaList,
)

from resprune.attachment import pruned
from resprune.compare.encoded import EncodedQuestion
from resprune.compare.generation import AnyOf, explained
from resprune.compare.text import additions
from resprune.settings import Settings


@dataclass(frozen=True)
class TokenChange:
    """One token of the full answer.

    Attributes:
        text: what it adds to the answer; empty for the end of text.
        full: its probability with all visual tokens, in ``[0, 1]``.
        pruned: its probability with those that are kept.
        instead: text of the token that is likeliest there with those that are kept; ``None`` where it is this one.
    """

    text: str
    full: float
    pruned: float
    instead: str | None


def differences(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    encoded: EncodedQuestion,
    token_ids: list[int],
    settings: Settings,
    stop: Event | None = None,
) -> list[TokenChange]:
    """Compare the probabilities of the full answer's tokens with and without pruning.

    With every token kept no probability changes by a bit.

    Args:
        model: with nothing attached.
        processor: that belongs to it.
        encoded: the question.
        token_ids: of the full answer, without the prompt.
        settings: of the pruned side.
        stop: set by another thread to stop within one token.

    Returns:
        One entry a token; none if it was stopped.

    Raises:
        InputError: if memory does not suffice.
    """
    stop, logits = stop or Event(), []
    for given in (None, settings):
        with pruned(model, processor, **vars(given)) if given else nullcontext():
            generate = model.generate if given else partial(type(model).generate, model)
            logits.append(_forced(generate, encoded, token_ids, stop))
    if stop.is_set() or not token_ids:
        return []
    chosen = torch.tensor(token_ids, device="cpu")[:, None]
    full, less = (side.softmax(dim=1).gather(1, chosen)[:, 0].tolist() for side in logits)
    best = logits[1].argmax(dim=1).tolist()
    tokenizer = processor.tokenizer
    texts = additions(tokenizer, token_ids)
    return [
        TokenChange(text, p, q, None if other == token else _text(tokenizer, other))
        for text, p, q, other, token in zip(texts, full, less, best, token_ids, strict=True)
    ]


@torch.no_grad()
def _forced(generate: Callable[..., Any], encoded: EncodedQuestion, token_ids: list[int], stop: Event) -> torch.Tensor:
    """``[T, V]`` float32 on the CPU, the logits before each token of an answer that is forced."""
    if stop.is_set() or not token_ids:
        return torch.empty(0, 0, dtype=torch.float32, device="cpu")
    forcing = _Forcing(token_ids, encoded.inputs["input_ids"].shape[1])
    try:
        output = generate(
            **encoded.inputs,
            max_new_tokens=len(token_ids),
            do_sample=False,
            num_beams=1,
            use_cache=True,
            output_logits=True,
            return_dict_in_generate=True,
            logits_processor=LogitsProcessorList([forcing]),
            stopping_criteria=StoppingCriteriaList([AnyOf(stop)]),
        )
    except Exception as error:
        raise explained(error) from None
    return torch.cat(output.logits).float().cpu()


class _Forcing(LogitsProcessor):
    """Leaves one token to choose from at each step."""

    def __init__(self, token_ids: list[int], prompt: int) -> None:
        self._token_ids, self._prompt = token_ids, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self._token_ids[input_ids.shape[1] - self._prompt]] = 0
        return forced


def _text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    return tokenizer.decode([token], skip_special_tokens=True)
