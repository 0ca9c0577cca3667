"""What a caller writes behind ``--model_args``, read as on our own command line; lmms-eval is not needed for this."""

import os
from dataclasses import dataclass, fields
from typing import Any

import torch

from resprune.errors import InputError
from resprune.models import CATALOGUE, QUANTISED_BYTES
from resprune.settings import Settings, misplaced, parse_keep

OF_ONE_PICTURE = ("protect", "image_size")
SETTINGS = tuple(field.name for field in fields(Settings) if field.name not in OF_ONE_PICTURE)
DTYPES = {name: getattr(torch, name) for name in ("bfloat16", "float16", "float32")}


@dataclass(frozen=True)
class Arguments:
    """A model to load, and how to prune.

    Attributes:
        pretrained: see :func:`resprune.models.load`.
        settings: of pruning.
        quantization: ``"8bit"``, ``"4bit"`` or ``None``.
        dtype: ``None`` takes what the device is fast in.
        device: ``None`` takes CUDA where there is one; of several processes each its own.
    """

    pretrained: str
    settings: Settings
    quantization: str | None = None
    dtype: torch.dtype | None = None
    device: str | None = None

    @classmethod
    def of(cls, default: str, given: dict[str, Any]) -> "Arguments":
        """Read them; lmms-eval has turned what looks like a number or a truth value into one.

        Args:
            default: the checkpoint where ``pretrained`` is not given.
            given: by name; ``batch_size`` and ``max_batch_size`` come from lmms-eval itself.

        Raises:
            InputError: if there is no such argument, or a value is out of range.
        """
        given = dict(given)
        _check_batch(given.pop("batch_size", 1))
        given.pop("max_batch_size", None)
        names = (*(field.name for field in fields(cls) if field.name != "settings"), *SETTINGS)
        if unknown := sorted(given.keys() - set(names)):
            elsewhere = misplaced(unknown[0], given[unknown[0]], given.get("method", Settings.method))
            raise InputError(elsewhere or f"model_args has no {unknown[0]!r}; choose among {', '.join(names)}.")
        chosen = {name: given[name] for name in SETTINGS if name in given}
        if "keep" in chosen:
            chosen["keep"] = parse_keep(str(chosen["keep"]))
        settings = Settings(**chosen)
        if settings.method.by_hand:
            named = settings.method.name
            raise InputError(f"The method {named!r} keeps tokens of one picture; choose another for a set of them.")
        return cls(
            pretrained=str(given.get("pretrained", default)),
            settings=settings,
            quantization=_one_of("quantization", given.get("quantization"), QUANTISED_BYTES),
            dtype=DTYPES.get(_one_of("dtype", given.get("dtype"), DTYPES) or ""),
            device=str(given["device"]) if given.get("device") is not None else _own_device(),
        )

    def check_family(self, wanted: str | None, family: str | None = None) -> None:
        """Compare the checkpoint's family with that of the model's name, where it has one.

        Args:
            wanted: of the model's name; ``None`` takes any.
            family: of the checkpoint; ``None`` asks the catalogue, so that nothing is loaded in vain.

        Raises:
            InputError: if they differ.
        """
        if family is None and self.pretrained in CATALOGUE:
            family = CATALOGUE[self.pretrained].family
        if wanted and family and family != wanted:
            raise InputError(
                f"{self.pretrained!r} is of the family {family!r}, not {wanted!r}; take --model resprune, which loads "
                "every supported family."
            )


def _check_batch(size: Any) -> None:
    if str(size) != "1":
        raise InputError(f"The batch size is {size}; questions are answered one at a time, so leave --batch_size at 1.")


def _one_of(name: str, value: Any, choices: dict[str, Any]) -> str | None:
    if value is None or str(value).lower() in ("none", "auto"):
        return None
    if value not in choices:
        raise InputError(f"There is no {name} {value!r}; give {', '.join(choices)} or none.")
    return value


def _own_device() -> str | None:
    """The graphics card of this process, where accelerate or torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return None
