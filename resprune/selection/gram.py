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
    with as_written(rows.device):
        return (rows @ rows.T).cpu().numpy()


def inner_products(features):  # PLACEHOLDER until the device path is merged
    if features.device.type == "cpu":
        return torch.from_numpy(gram_matrix(features))
    rows = features.float()
    return rows @ rows.T
