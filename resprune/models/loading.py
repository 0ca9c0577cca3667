"""Load a checkpoint, and give its memory back."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from resprune.device import default_dtype
from resprune.errors import InputError
from resprune.layouts import LAYOUTS, is_a
from resprune.models.catalogue import QUANTISED_BYTES, Quantization
from resprune.models.fit import check_room, weigh
from resprune.models.hub import Progress, first_line, locate

PROCESSOR = "processor_config.json"
# What PyTorch and accelerate say where memory does not suffice.
_TOO_LARGE = ("can't allocate memory", "dispatched on the CPU or the disk")


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
    with _explained(model_id):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        processor = _processor(model_id, folder, config)
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
    if absent := sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}):
        raise InputError(f"The model {model_id!r} lacks weights such as {absent[0]}; fetch it again.")
    model.name_or_path = model_id  # what the caller asked for, not where this machine keeps it
    progress("reading the weights", 1.0)
    return model.eval(), processor


def _processor(model_id: str, folder: Path, config: PreTrainedConfig) -> ProcessorMixin:
    """The processor of a checkpoint, if it has all that one needs to make tokens of a picture."""
    layout, settings = LAYOUTS[config.model_type], folder / PROCESSOR
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        if is_a(processor, layout.processor):
            layout.geometry(processor)
            return processor
    except OSError:
        if settings.is_file() or (folder / "preprocessor_config.json").is_file():
            raise
    except (TypeError, AttributeError, InputError):  # of numbers that are not there
        pass
    raise InputError(
        f"The model {model_id!r} has {'an incomplete' if settings.is_file() else 'no'} {PROCESSOR}, which tells its "
        f"{layout.processor} how a picture becomes tokens; take that file from where its weights are from."
    )


@contextmanager
def _explained(model_id: str) -> Iterator[None]:
    """Says in a sentence what keeps a checkpoint from being read, and what would help."""
    name = f"The model {model_id!r}"
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{name} needs a package that is not here ({first_line(error)}); install it.") from error
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError, AssertionError, MemoryError) as error:
        said = str(error)
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(hint in said for hint in _TOO_LARGE):
            raise InputError(f"{name} does not fit in the memory that is free; choose a smaller one.") from error
        if "ignore_mismatched_sizes" in said:
            raise InputError(
                f"{name} has a config.json that is not that of its weights: their shapes differ; take both from the "
                "same checkpoint."
            ) from error
        raise InputError(f"{name} cannot be read ({first_line(error)}); fetch it again.") from error


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
