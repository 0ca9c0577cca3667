"""Which checkpoints there are, where they lie, and how to load one."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

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
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from resprune.errors import InputError
from resprune.layouts import LAYOUTS

WANTED_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Entry:
    """A checkpoint that this project knows.

    Attributes:
        id: what a caller asks for: a Hugging Face id, or ``"bundled"``.
        family: its ``model_type``, a key of :data:`resprune.layouts.LAYOUTS`.
        description: one sentence for the user.
        licence: of its weights.
        parameters: in millions.
    """

    id: str
    family: str
    description: str
    licence: str
    parameters: int


CATALOGUE: dict[str, Entry] = {
    entry.id: entry
    for entry in (
        Entry("bundled", "llava", "Knows emoji scenes only; small, offline, runs anywhere.", "Apache-2.0", 11),
        Entry(
            "llava-hf/llava-1.5-7b-hf",
            "llava",
            "LLaVA-1.5 for photographs; 14 GB of memory in 16 bits.",
            "Llama 2 Community License",
            7063,
        ),
        Entry(
            "llava-hf/llava-1.5-13b-hf",
            "llava",
            "The larger LLaVA-1.5; 27 GB of memory in 16 bits.",
            "Llama 2 Community License",
            13351,
        ),
    )
}


def load(
    model_id: str = "bundled", *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Load a stock Hugging Face model and its processor, ready to answer.

    Only safetensors are read and no code of a checkpoint is run.

    Args:
        model_id: an id of :data:`CATALOGUE`, a folder on this machine, or another Hugging Face id that the operator
            allows by naming it in the environment variable ``RESPRUNE_ALLOW`` (ids separated by commas).
        device: ``None`` takes CUDA where there is one, else the CPU.
        dtype: ``None`` takes what the device is fast in, see :func:`default_dtype`.

    Raises:
        InputError: if there is no such checkpoint, it cannot be fetched, its family is not supported, or its files
            are incomplete, damaged or pickled.
    """
    device = _device(device)
    dtype = dtype or default_dtype(device)
    folder = locate(model_id)
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise InputError(f"The model {model_id!r} cannot be read ({_first_line(error)}); fetch it again.") from error
    if absent := sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}):
        raise InputError(f"The model {model_id!r} lacks weights such as {absent[0]}; fetch it again.")
    model.name_or_path = model_id  # what the caller asked for, not where this machine keeps it
    try:
        return model.to(device).eval(), processor
    except (RuntimeError, AssertionError) as error:  # no such device, or not enough memory on it
        raise InputError(f"The model {model_id!r} does not go on {device} ({_first_line(error)}).") from error


def locate(model_id: str) -> Path:
    """The folder that holds a checkpoint's files, fetched from the Hugging Face hub where that is needed.

    Raises:
        InputError: see :func:`load`.
    """
    if model_id == "bundled":
        folder = assets_dir() / "bundled"
        if not folder.is_dir():
            raise InputError(
                f"The bundled model is not in {str(folder)!r}; run from a checkout, or set RESPRUNE_ASSETS to its "
                "assets folder."
            )
    elif model_id in CATALOGUE or model_id in _allowed():
        return _fetched(model_id)
    elif not model_id or not (folder := Path(model_id)).is_dir():
        raise InputError(
            f"There is no model {model_id!r}; choose one of {', '.join(CATALOGUE)}, or give a folder that holds one."
        )
    _check_family(model_id, folder / "config.json")
    _check_weights(model_id, folder)
    return folder


def assets_dir() -> Path:
    """Where the bundled model, sprites and examples lie: ``RESPRUNE_ASSETS``, else ``assets`` beside the package."""
    return Path(os.environ.get("RESPRUNE_ASSETS") or Path(__file__).parents[1] / "assets")


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where ``device`` computes in it (CUDA from Ampere on, x86 with AMX or AVX512-BF16), else the next best.

    That is float16 on older CUDA devices and float32 on other processors, where half precision is slower.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and _cpu_flags() & {"amx_bf16", "avx512_bf16"}:
        return torch.bfloat16
    return torch.float32


def _device(device: str | torch.device | None) -> torch.device:
    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r}; give cpu or cuda.") from error


def _cpu_flags() -> set[str]:
    """What Linux says that the processor can do; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def _allowed() -> set[str]:
    return {name.strip() for name in os.environ.get("RESPRUNE_ALLOW", "").split(",")} - {""}


def _fetched(model_id: str) -> Path:
    """Download what is missing; the configuration first, so that nothing large is fetched in vain."""
    try:
        _check_family(model_id, Path(hf_hub_download(model_id, "config.json")))
        folder = Path(snapshot_download(model_id, allow_patterns=list(WANTED_FILES)))
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


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
