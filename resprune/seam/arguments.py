"""The caller's side of a shortened prompt: what goes in and comes out speaks of the prompt that the caller wrote."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from resprune.seam.attention import under_way

_SIGNATURES: WeakKeyDictionary[Callable[..., Any], inspect.Signature] = WeakKeyDictionary()


def arguments_of(method: Callable[..., Any]) -> set[str]:
    """The names of what a method takes, itself apart."""
    return set(signature_of(method).parameters)


def signature_of(method: Callable[..., Any]) -> inspect.Signature:
    """As :func:`inspect.signature` has it, which takes a tenth of a millisecond each time for a method of a model."""
    function = getattr(method, "__func__", None)
    if function is None:
        return inspect.signature(method)  # somebody's stand-in
    if function not in _SIGNATURES:
        _SIGNATURES[function] = inspect.signature(method)
    return _SIGNATURES[function]


def setting(model: PreTrainedModel, call: dict[str, Any], name: str) -> Any:
    """What ``generate`` takes ``name`` to be: as given in the call, in its generation config, or in the model's."""
    configs = (call.get("generation_config"), model.generation_config)
    values = (call.get(name), *(getattr(config, name, None) for config in configs))
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True)
class CallersPrompt:
    """A prompt as its caller wrote it, while another is sent to the model.

    Attributes:
        ids: ``[B, n]`` int64, as the caller wrote it.
        sent: number of columns of the prompt that is sent instead.
    """

    ids: torch.Tensor
    sent: int

    def restore(self, sequences: torch.Tensor) -> torch.Tensor:
        """``[R, sent + T]`` sequences, R a multiple of B, to ``[R, n + T]``: the caller's prompt before the answer."""
        prompt = self.ids.repeat_interleave(len(sequences) // len(self.ids), dim=0).to(sequences.device)
        return torch.cat([prompt, sequences[:, self.sent :]], dim=1)

    def translate(self, model: PreTrainedModel, call: dict[str, Any]) -> dict[str, Any]:
        """The arguments of ``generate`` that count or see the prompt, made to fit the one that is sent.

        ``max_length`` and ``min_length`` move by the difference in length; streamers, logits processors, stopping
        criteria and ``prefix_allowed_tokens_fn`` still see the caller's prompt, and what they ask of any model is not
        part of the call. Nothing given by the caller is changed.
        """
        changed = self._lengths(model, call)
        if call.get("streamer") is not None:
            changed["streamer"] = _Streamer(call["streamer"], self)
        if call.get("logits_processor") is not None:
            changed["logits_processor"] = LogitsProcessorList(_Processor(p, self) for p in call["logits_processor"])
        if call.get("stopping_criteria") is not None:
            changed["stopping_criteria"] = StoppingCriteriaList(_Criterion(c, self) for c in call["stopping_criteria"])
        if (allowed := call.get("prefix_allowed_tokens_fn")) is not None:
            # The function is asked about a prompt of the batch, for each of its beams or sampled answers.
            changed["prefix_allowed_tokens_fn"] = lambda row, ids: _apart(
                allowed, row, torch.cat([self.ids[row].to(ids.device), ids[self.sent :]])
            )
        return changed

    def _lengths(self, model: PreTrainedModel, call: dict[str, Any]) -> dict[str, Any]:
        shift = self.sent - self.ids.shape[1]
        lengths = {}
        for name, instead in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            length = setting(model, call, name)
            if length is not None and setting(model, call, instead) is None:
                lengths[name] = max(0, length + shift)
        config = call.get("generation_config")
        if config is None or not lengths:
            return lengths
        # generate() frowns upon a config beside other arguments: change a copy of it.
        config = copy.deepcopy(config)
        given = {name: value for name, value in lengths.items() if call.get(name) is not None}
        for name in lengths.keys() - given.keys():
            setattr(config, name, lengths[name])
        return {"generation_config": config, **given}


def _apart(function: Callable, *args: Any, **options: Any) -> Any:
    """What a function of the caller's gives, outside the call under way: it may ask the same model something else."""
    with under_way(None):
        return function(*args, **options)


class _Streamer(BaseStreamer):
    """Hands a streamer the caller's prompt in place of the one sent, which ``generate`` streams first."""

    def __init__(self, inner: BaseStreamer, prompt: CallersPrompt) -> None:
        self.inner, self.prompt, self.started = inner, prompt, False

    def put(self, value: torch.Tensor) -> None:
        _apart(self.inner.put, value if self.started else self.prompt.restore(value))
        self.started = True

    def end(self) -> None:
        _apart(self.inner.end)


class _Processor(LogitsProcessor):
    """Shows a logits processor the caller's prompt."""

    def __init__(self, inner: Callable, prompt: CallersPrompt) -> None:
        self.inner, self.prompt = inner, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return _apart(self.inner, self.prompt.restore(input_ids), scores)


class _Criterion(StoppingCriteria):
    """Shows a stopping criterion the caller's prompt."""

    def __init__(self, inner: Callable, prompt: CallersPrompt) -> None:
        self.inner, self.prompt = inner, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return _apart(self.inner, self.prompt.restore(input_ids), scores, **kwargs)
