"""Load a checkpoint, and give its memory back."""

import gc

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from resprune.device import default_dtype
from resprune.errors import InputError
from resprune.models.catalogue import QUANTISED_BYTES, Quantization
from resprune.models.fit import check_room, weigh
from resprune.models.hub import Progress, first_line, locate


def load(
    model_id: str = "bundled",
    *,
    quantization: Quantization | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress = lambda step, share: None,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load a stock Hugging Face model and its processor, ready to answer.

    Only safetensors are read and no code of a checkpoint is run. Whether the weights fit is known before they are
    read.

    Args:
        model_id: an id of :data:`resprune.models.CATALOGUE`, a folder on this machine, or another Hugging Face id
            that the operator allows by naming it in the environment variable ``RESPRUNE_ALLOW`` (ids separated by
            commas).
        quantization: ``"8bit"`` or ``"4bit"`` (bitsandbytes; the linear layers of the language model), or ``None``.
        device: ``None`` takes CUDA where there is one, else the CPU; ``"auto"`` lets accelerate spread the model over
            all there is.
        dtype: of what is not quantised; ``None`` takes what the device is fast in, see
            :func:`resprune.device.default_dtype`.
        progress: called as the model is fetched and read, from any thread.

    Raises:
        InputError: if there is no such checkpoint, it cannot be fetched, its family is not supported, its files are
            incomplete, damaged or pickled, it does not fit, or the device cannot quantise.
    """
    place = _device(None if device == "auto" else device)
    dtype = dtype or default_dtype(place)
    _check_quantization(quantization, place)
    folder = locate(model_id, progress)
    progress("reading the weights", 0.0)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        weights = weigh(config, place)
        if device != "auto":
            check_room(model_id, weights, quantization, dtype, place)
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            device_map="auto" if device == "auto" else {"": place} if quantization or place.type != "cpu" else None,
            quantization_config=_quantization_config(quantization, dtype, weights.unquantised),
        )
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError, AssertionError, ImportError) as error:
        raise InputError(f"The model {model_id!r} cannot be read ({first_line(error)}); fetch it again.") from error
    if absent := sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}):
        raise InputError(f"The model {model_id!r} lacks weights such as {absent[0]}; fetch it again.")
    model.name_or_path = model_id  # what the caller asked for, not where this machine keeps it
    progress("reading the weights", 1.0)
    return model.eval(), processor


def unload(model: PreTrainedModel) -> None:
    """Give the memory of a model's weights back at once, whoever still holds the model; it is of no use afterwards."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = torch.empty(0, dtype=tensor.dtype)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device(device: str | torch.device | None) -> torch.device:
    """A device that is there."""
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"There is no device {str(device)!r} on this machine; give cpu, cuda or auto.") from error
    return place


def _check_quantization(quantization: str | None, device: torch.device) -> None:
    if quantization not in (None, *QUANTISED_BYTES):
        raise InputError(f"There is no quantization {quantization!r}; give {', '.join(QUANTISED_BYTES)} or None.")
    if quantization and device.type not in ("cpu", "cuda"):
        raise InputError(f"The device {device} cannot hold a model in {quantization}; give quantization=None.")


def _quantization_config(
    quantization: Quantization | None, dtype: torch.dtype, unquantised: list[str]
) -> BitsAndBytesConfig | None:
    """The language model in few bits. Vision tower and projector stay: their output is what pruning judges by."""
    if quantization is None:
        return None
    return BitsAndBytesConfig(
        load_in_8bit=quantization == "8bit",
        load_in_4bit=quantization == "4bit",
        llm_int8_skip_modules=unquantised,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
