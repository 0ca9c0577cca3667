"""In which type of number a device computes fastest."""

import time
from functools import cache

import torch

from resprune.device.processor import processor_flags


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where ``device`` computes faster in it (CUDA from Ampere on, x86 with AMX), else the next best.

    That is float16 on older CUDA devices and float32 on other processors, where half precision is slower. Processors
    with AVX512-BF16 alone differ: some are twice as fast in it and some half as fast, so that it is measured once.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.bfloat16
    if device.type == "cpu" and (flags := processor_flags()) & {"amx_bf16", "avx512_bf16"}:
        return torch.bfloat16 if "amx_bf16" in flags else faster_on_cpu()
    return torch.float32


@cache
def faster_on_cpu() -> torch.dtype:
    """Which of bfloat16 and float32 this processor multiplies faster: the best of a few small products."""
    best = {}
    for dtype in (torch.bfloat16, torch.float32):
        a, b = torch.ones(1024, 256, dtype=dtype, device="cpu"), torch.ones(256, 768, dtype=dtype, device="cpu")
        times = []
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        best[dtype] = min(times)
    return min(best, key=best.get)
