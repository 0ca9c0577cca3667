"""What a model needs and what a device has, before a byte is read."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from resprune.device import free_bytes
from resprune.errors import InputError
from resprune.models.catalogue import QUANTISED_BYTES, Quantization, weight_bytes

# bitsandbytes multiplies by 4-bit weights on the CPU only where both sides are a multiple of these.
_CPU_4BIT_SHAPE = (32, 64)


@dataclass(frozen=True)
class Weights:
    """What a configuration makes of a model, without its weights.

    Attributes:
        parameters: how many.
        quantisable: how many of them lie in layers that a quantisation turns into fewer bits.
        unquantised: names of the modules that stay in 16 bits: all but the language model, and its output layer.
    """

    parameters: int
    quantisable: int
    unquantised: list[str]

    def bytes(self, quantization: Quantization | None, dtype: torch.dtype) -> int:
        """Bytes of the weights when loaded."""
        return weight_bytes(self.parameters, self.quantisable, quantization, dtype.itemsize)


def weigh(config: PreTrainedConfig, device: torch.device | None = None) -> Weights:
    """Count the parameters of a model on PyTorch's meta device, which takes no memory.

    Args:
        config: of a vision-language model.
        device: where it is to be quantised; on the CPU some shapes cannot be.
    """
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
    decoder = model.get_decoder()
    within = {id(module) for module in decoder.modules()}
    quantised, other = [], []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            odd = device is not None and device.type == "cpu" and not _fits_cpu(module)
            (other if id(module) not in within or odd else quantised).append((name, module))
    return Weights(
        parameters=sum(p.numel() for p in model.parameters()),
        quantisable=sum(module.weight.numel() for _, module in quantised),
        unquantised=[name for name, _ in other],
    )


def _fits_cpu(layer: nn.Linear) -> bool:
    out, into = _CPU_4BIT_SHAPE
    return layer.out_features % out == 0 and layer.in_features % into == 0


def check_room(
    model_id: str, weights: Weights, quantization: Quantization | None, dtype: torch.dtype, device: torch.device
) -> None:
    """Refuse a model whose weights do not fit.

    Raises:
        InputError: with what it needs, what there is, and what would fit.
    """
    free, needed = free_bytes(device), weights.bytes(quantization, dtype)
    if needed <= free:
        return
    fits = [q for q in QUANTISED_BYTES if device.type != "mps" and weights.bytes(q, dtype) <= free]
    advice = f"load it with quantization={fits[0]!r}, or free some memory" if fits else "choose a smaller model"
    raise InputError(
        f"The weights of {model_id!r} need {needed / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB free; {advice}."
    )
