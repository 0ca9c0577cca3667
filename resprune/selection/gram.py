"""The Gram matrix: inner products of all visual tokens of an image, made once for all who ask."""

from contextlib import nullcontext

import numpy as np
import torch

from resprune.device import as_written, one_thread

MANY_PRODUCTS = 4e9  # from here on a Gram matrix on the CPU is worth several threads


def gram_matrix(features: torch.Tensor) -> np.ndarray:
    """``[N, N]`` float32 inner products of the rows of ``features`` ``[N, D]``, on the host."""
    rows = features.detach().float()
    if rows.device.type == "cpu":
        array = rows.numpy()
        threads = one_thread() if len(array) * array.size < MANY_PRODUCTS else nullcontext()
        with threads, np.errstate(over="ignore", invalid="ignore"):  # the caller is told in words
            return array @ array.T  # numpy sees the transpose and calls ssyrk
    return inner_products(features).cpu().numpy()


def inner_products(features: torch.Tensor) -> torch.Tensor:
    """``[N, N]`` float32 inner products of the rows of ``features`` ``[N, D]``, where these are, without a wait.

    Half-precision features are multiplied as they are on CUDA: their products are exact in float32, and so are added.
    In float32 TF32 is never used, which would change the choice. Where it is allowed (it is a setting of the process,
    which others rely on meanwhile) the products are taken in float64 instead, and so much memory beside.
    """
    if features.device.type == "cpu":
        return torch.from_numpy(gram_matrix(features))
    rows = features.detach()
    with as_written(rows.device):
        if rows.is_cuda and rows.dtype in (torch.bfloat16, torch.float16):
            return torch.mm(rows, rows.T, out_dtype=torch.float32)
        rows = rows.float()
        if rows.is_cuda and _rounds_products():
            rows = rows.double()
        return (rows @ rows.T).float()


def _rounds_products() -> bool:
    """Whether float32 products on CUDA may be taken in TF32."""
    settings = torch.backends.cuda.matmul
    precision = getattr(settings, "fp32_precision", None)  # PyTorch 2.9; where it was set the older name cannot be read
    return settings.allow_tf32 if precision is None else precision not in ("ieee", "none")
