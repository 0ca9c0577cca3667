"""Where checkpoints lie, and how to load one."""

import gc
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import tqdm
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from resprune import cpu
from resprune.attach import detach
from resprune.catalogue import CATALOGUE, QUANTISED_BYTES, Quantization
from resprune.errors import InputError
from resprune.layouts import LAYOUTS
from resprune.memory import check_room, weigh

WANTED_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
CHECKSUMS = "checksums.sha256"  # as sha256sum writes it
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Progress = Callable[[str, float], None]
"""Told what is going on, and how far it is, in ``[0, 1]``."""


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
        model_id: an id of :data:`resprune.catalogue.CATALOGUE`, a folder on this machine, or another Hugging Face id
            that the operator allows by naming it in the environment variable ``RESPRUNE_ALLOW`` (ids separated by
            commas).
        quantization: ``"8bit"`` or ``"4bit"`` (bitsandbytes; the linear layers of the language model), or ``None``.
        device: ``None`` takes CUDA where there is one, else the CPU; ``"auto"`` lets accelerate spread the model over
            all there is.
        dtype: of what is not quantised; ``None`` takes what the device is fast in, see :func:`default_dtype`.
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
        raise InputError(f"The model {model_id!r} cannot be read ({_first_line(error)}); fetch it again.") from error
    if absent := sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}):
        raise InputError(f"The model {model_id!r} lacks weights such as {absent[0]}; fetch it again.")
    model.name_or_path = model_id  # what the caller asked for, not where this machine keeps it
    progress("reading the weights", 1.0)
    return model.eval(), processor


def unload(model: PreTrainedModel) -> None:
    """Give the memory of a model's weights back at once, whoever still holds the model; it is of no use afterwards."""
    detach(model)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = torch.empty(0, dtype=tensor.dtype)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def locate(model_id: str, progress: Progress = lambda step, share: None) -> Path:
    """The folder that holds a checkpoint's files, fetched from the Hugging Face hub where that is needed.

    Raises:
        InputError: see :func:`load`.
    """
    if model_id == "bundled":
        folder = assets_dir() / "bundled"
        if not folder.is_dir():
            raise InputError(
                f"The bundled model is not in {str(folder)!r}; install resprune again, or set RESPRUNE_ASSETS to "
                "the assets folder of a checkout."
            )
    elif model_id in CATALOGUE or model_id in _allowed():
        return _fetched(model_id, progress)
    elif not model_id or not (folder := Path(model_id)).is_dir():
        raise InputError(
            f"There is no model {model_id!r}; choose one of {', '.join(CATALOGUE)}, or give a folder that holds one."
        )
    _check_family(model_id, folder / "config.json")
    _check_weights(model_id, folder)
    _check_sums(model_id, folder)
    return folder


def assets_dir() -> Path:
    """Where the bundled model and the sprites lie: ``RESPRUNE_ASSETS``, else ``assets`` in the installed package, else
    ``assets`` beside the package, as in a checkout.
    """
    if given := os.environ.get("RESPRUNE_ASSETS"):
        return Path(given)
    installed = Path(__file__).parent / "assets"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "assets"


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where ``device`` computes faster in it (CUDA from Ampere on, x86 with AMX), else the next best.

    That is float16 on older CUDA devices and float32 on other processors, where half precision is slower. Processors
    with AVX512-BF16 alone differ: some are twice as fast in it and some half as fast, so that it is measured once.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.bfloat16
    if device.type == "cpu" and (flags := cpu.flags()) & {"amx_bf16", "avx512_bf16"}:
        return torch.bfloat16 if "amx_bf16" in flags else faster_on_cpu()
    return torch.float32


@cache
def faster_on_cpu() -> torch.dtype:
    """Which of bfloat16 and float32 this processor multiplies faster: the best of a few small products."""
    best = {}
    for dtype in (torch.bfloat16, torch.float32):
        a, b = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 768, dtype=dtype)
        times = []
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        best[dtype] = min(times)
    return min(best, key=best.get)


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


def _reporter(progress: Progress) -> type[tqdm]:
    """A progress bar that tells the downloaded share instead of drawing itself."""

    class Reporter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"disable": False, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.unit == "B" and self.total:
                progress("fetching the model", min(1.0, self.n / self.total))
            return shown

    return Reporter


def _allowed() -> set[str]:
    return {name.strip() for name in os.environ.get("RESPRUNE_ALLOW", "").split(",")} - {""}


def _fetched(model_id: str, progress: Progress) -> Path:
    """Download what is missing; the configuration first, so that nothing large is fetched in vain."""
    try:
        _check_family(model_id, Path(hf_hub_download(model_id, "config.json")))
        folder = Path(snapshot_download(model_id, allow_patterns=list(WANTED_FILES), tqdm_class=_reporter(progress)))
    except GatedRepoError as error:
        raise InputError(f"The model {model_id!r} asks for consent; accept its licence on its page first.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"There is no model {model_id!r} on the Hugging Face hub; check its name.") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"The model {model_id!r} is not on this machine and the Hugging Face hub cannot be reached; check the "
            "network connection, or choose the bundled model."
        ) from error
    except (OSError, EntryNotFoundError, HTTPError) as error:
        raise InputError(f"The model {model_id!r} cannot be fetched ({_first_line(error)}); try again.") from error
    _check_weights(model_id, folder)
    return folder


def _check_family(model_id: str, config: Path) -> None:
    try:
        family = str(json.loads(config.read_text())["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The model {model_id!r} has no readable config.json; fetch it again.") from error
    if family not in LAYOUTS:
        raise InputError(f"The model {model_id!r} is of the family {family!r}; supported: {', '.join(LAYOUTS)}.")


def _check_weights(model_id: str, folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    if any(any(folder.glob(pattern)) for pattern in PICKLES):
        raise InputError(
            f"The model {model_id!r} is pickled, which can run code when it is read; convert it to safetensors."
        )
    raise InputError(f"The model {model_id!r} has no weights (*.safetensors); fetch it again.")


def _check_sums(model_id: str, folder: Path) -> None:
    """Compare files with the sums that the folder states of them, if it does: damage must not pass for an answer."""
    if not (sums := folder / CHECKSUMS).is_file():
        return
    for line in sums.read_text().splitlines():
        expected, _, name = line.partition("  ")
        file = folder / Path(name).name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise InputError(f"The file {name} of the model {model_id!r} is damaged or another; fetch it again.")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
