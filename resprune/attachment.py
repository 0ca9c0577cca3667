"""The seam: prune inside a stock model's ``generate``, and undo it without a trace."""

import contextlib
import copy
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import ModelOutput

from resprune.errors import InputError
from resprune.layouts import check_processor
from resprune.methods import Method
from resprune.seam import PruneResult, carried, encode, generate_inside, prepare, remember, signature_of
from resprune.settings import Keep, Settings

__all__ = ["Attachment", "attach", "detach", "encode", "pruned"]

_OTHER_NAMES = {"inputs": "input_ids", "past_key_values": "cache", "cache_params": "cache"}  # of generate's arguments


@dataclass
class Attachment:
    """What :func:`attach` hangs on a model, as ``model.resprune``.

    Attributes:
        processor: of the model.
        settings: how to prune; assign another :class:`Settings` to change it.
        last: what the latest ``generate`` did, one result an image; empty if it pruned nothing.
    """

    processor: ProcessorMixin
    settings: Settings
    last: list[PruneResult] = field(default_factory=list)


def attach(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    keep: Keep = 128,
    method: str | Method = "resprune",
    **settings: Any,
) -> PreTrainedModel:
    """Make ``model.generate`` prune the visual tokens of each image. No weight, class or module is changed.

    Kept tokens keep their positions. With all tokens kept, what is generated is bit for bit that of the plain model;
    below, it is that of the plain model with the other tokens masked out.

    ``generate`` is called as ever: the prompts in what it returns, and those that streamers, logits processors and
    stopping criteria see, are the caller's, and ``max_length`` counts them. It takes images already encoded, as
    ``mm_encoder_outputs={"image": encode(model, inputs)}``. A call without images, or with ``inputs_embeds``, passes
    through. A chat may go on from the KV cache of a pruned call as from any other. One call may have settings of its
    own: ``generate(..., resprune=Settings(...))``, or a list of them, one for each prompt of the batch.

    Args:
        model: of a family in :data:`resprune.layouts.LAYOUTS`.
        processor: the processor of the same checkpoint.
        keep: an ``int`` is a number of tokens an image, a ``float`` in ``(0, 1]`` a share of them, ``"22%"`` the same,
            ``"auto"`` as few as hold most of the energy.
        method: such as ``ResPrune(alpha=4)``, or its text, ``"resprune:alpha=4"``; see :mod:`resprune.methods`.
        settings: what else :class:`Settings` has: ``mass``, ``positions``, ``energy``, ``protect``, ``image_size``.

    Returns:
        ``model``, with an :class:`Attachment` as ``model.resprune``.

    Raises:
        InputError: if the family is not supported, the processor is of another model, a setting is out of range, or
            the model is attached already. The model is then as it was.
    """
    check_processor(model, processor)
    if "generate" in vars(model) or "resprune" in vars(model):
        raise InputError("The model's generate has been replaced already; call resprune.detach(model) first.")
    model.resprune = Attachment(processor, Settings.of(keep=keep, method=method, **settings))
    model.generate = _Generate(model)
    model.__reduce_ex__ = model.generate.reduced
    return model


def detach(model: PreTrainedModel) -> PreTrainedModel:
    """Undo :func:`attach`. A model that is not attached stays as it is."""
    if isinstance(vars(model).get("resprune"), Attachment):
        del model.resprune, model.generate, model.__reduce_ex__
    return model


@contextlib.contextmanager
def pruned(model: PreTrainedModel, processor: ProcessorMixin, **settings: Any) -> Iterator[PreTrainedModel]:
    """:func:`attach` for the length of a ``with`` block, with the same arguments."""
    attach(model, processor, **settings)
    try:
        yield model
    finally:
        detach(model)


class _Generate:
    """``generate`` of an attached model, which goes with the model into its copies and pickles: they prune as it does.

    A method would not: it is pickled by its name, under which the copy's class has the plain one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._unpickled = model, False

    def reduced(self, protocol: int) -> tuple[Any, ...]:
        """The model's ``__reduce_ex__``: ``generate`` comes first, which says what stands in the way of a pickle."""
        make, arguments, state, *rest = type(self._model).__reduce_ex__(self._model, protocol)
        return make, arguments, {"generate": self, **state}, *rest

    def __getstate__(self) -> dict[str, Any]:
        hooks = [hook for module in self._model.modules() for hook in module._forward_hooks.values()]
        if any("<locals>" in getattr(hook, "__qualname__", "") for hook in hooks):
            raise InputError(
                "A model cannot be pickled after its first call, in which transformers hangs nameless functions on it, "
                "attached or not; pickle it before, or use copy.deepcopy, or save_pretrained and attach what is loaded."
            )
        return vars(self) | {"_unpickled": True}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Generate":
        return _Generate(copy.deepcopy(self._model, memo))

    @property
    def __signature__(self) -> inspect.Signature:
        return signature_of(self._plain)

    @property
    def _plain(self) -> Callable[..., ModelOutput | torch.Tensor]:
        return types.MethodType(type(self._model).generate, self._model)

    def __call__(self, *args: Any, **kwargs: Any) -> ModelOutput | torch.Tensor:
        """As :meth:`transformers.GenerationMixin.generate`, pruned; ``resprune=`` has settings for this call alone."""
        model, original = self._model, self._plain
        own: Settings | Sequence[Settings] | None = kwargs.pop("resprune", None)
        if self._unpickled:
            _note_outputs(model)
            self._unpickled = False
        call = dict(signature_of(original).bind(*args, **kwargs).arguments)
        call |= call.pop("kwargs", {})
        for name, plain in _OTHER_NAMES.items():
            if call.get(name) is not None and call.get(plain) is None:
                call[plain] = call.pop(name)
        attachment: Attachment = model.resprune
        attachment.last = []
        settings = attachment.settings if own is None else own
        if isinstance(settings, Settings) and settings.method.inside:
            output, attachment.last = generate_inside(model, settings, call, original)
            return output
        request = prepare(model, attachment.processor, settings, call)
        if request is None:
            return original(*args, **kwargs)
        attachment.last = request.results
        remember(request)
        with carried(model, request.cached.bias, shortened=request.cached.shortened):
            output = original(**request.call)
        for result in request.results:
            result.selection.check()  # of features that are no numbers an accelerator tells when it has been waited for
        remember(request, output)
        if isinstance(output, torch.Tensor):
            return request.prompt.restore(output)
        output.sequences = request.prompt.restore(output.sequences)
        return output


def _note_outputs(model: PreTrainedModel) -> None:
    """Tell transformers what parts of a model can give beside their output, as their making does in its process only.

    Without it an unpickled model, attached or not, gives no hidden states in a spawned process, and reads no image.
    """
    from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY  # here: it is needed hardly ever

    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            _CAN_RECORD_REGISTRY[module] = module._can_record_outputs
