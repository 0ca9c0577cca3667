"""Where a checkpoint's files are: bundled, in a folder, or fetched from the hub; and whether they are sound."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from resprune.errors import InputError
from resprune.layouts import LAYOUTS
from resprune.models.catalogue import CATALOGUE

WANTED_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
# The same weights once more, as their authors' own code reads them, or for another purpose.
UNWANTED_FILES = ("consolidated*", "*/*.safetensors")
CHECKSUMS = "checksums.sha256"  # as sha256sum writes it
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Progress = Callable[[str, float], None]
"""Told what is going on, and how far it is, in ``[0, 1]``."""


def locate(model_id: str, progress: Progress = lambda step, share: None) -> Path:
    """The folder that holds a checkpoint's files, fetched from the Hugging Face hub where that is needed.

    Raises:
        InputError: see :func:`resprune.models.load`.
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
    else:
        check_known(model_id)
        folder = Path(model_id)
    _check_family(model_id, folder / "config.json")
    _check_weights(model_id, folder)
    _check_sums(model_id, folder)
    return folder


def check_known(model_id: str) -> None:
    """Nothing is fetched or read for it.

    Raises:
        InputError: if it is neither an id that may be fetched nor a folder.
    """
    if model_id in CATALOGUE or model_id in _allowed() or (model_id and Path(model_id).is_dir()):
        return
    raise InputError(
        f"There is no model {model_id!r}; choose one of {', '.join(CATALOGUE)}, or give a folder that holds one."
    )


def assets_dir() -> Path:
    """Where the bundled model and the sprites lie: ``RESPRUNE_ASSETS``, else ``assets`` in the installed package, else
    ``assets`` beside the package, as in a checkout.
    """
    if given := os.environ.get("RESPRUNE_ASSETS"):
        return Path(given)
    package = Path(__file__).parents[1]
    return package / "assets" if (package / "assets").is_dir() else package.parent / "assets"


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
        wanted = {"allow_patterns": list(WANTED_FILES), "ignore_patterns": list(UNWANTED_FILES)}
        folder = Path(snapshot_download(model_id, **wanted, tqdm_class=_reporter(progress)))
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
        raise InputError(f"The model {model_id!r} cannot be fetched ({first_line(error)}); try again.") from error
    _check_weights(model_id, folder)
    return folder


def _check_family(model_id: str, config: Path) -> None:
    try:
        told = json.loads(config.read_text())
        family, made_by = str(told["model_type"]), [str(name) for name in told.get("architectures") or []]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The model {model_id!r} has no readable config.json; fetch it again.") from error
    if original := [name for name in made_by if name.startswith("Llava") and name.endswith("ForCausalLM")]:
        raise InputError(
            f"The model {model_id!r} is in the form of LLaVA's own code ({original[0]}), which transformers does not "
            "read; take its conversion, such as llava-hf/llava-1.5-7b-hf."
        )
    if family not in LAYOUTS:
        raise InputError(f"The model {model_id!r} is of the family {family!r}; supported: {', '.join(LAYOUTS)}.")


def _check_weights(model_id: str, folder: Path) -> None:
    weights = list(folder.glob("*.safetensors"))
    if any(not file.match(UNWANTED_FILES[0]) for file in weights):
        return
    if weights:
        raise InputError(
            f"The model {model_id!r} has its weights in {weights[0].name} only, which transformers does not read; add "
            "its other *.safetensors files."
        )
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


def first_line(error: BaseException) -> str:
    """What an error of a library says first."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
