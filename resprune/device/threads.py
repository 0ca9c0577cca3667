"""How many threads NumPy's linear algebra takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_limits: list[Any] = []  # what the first of those inside has set, and a None for each other


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """One, for the length of a ``with`` block: for small products.

    NumPy's threads are not PyTorch's. Handing the processor from the ones to the others takes longer than a small
    product does: with two cores, one thread chose 128 of 576 tokens in half the time of two.

    The number is the process's. Of blocks that overlap in several threads the first sets it and the last puts back what
    was there: each for itself would leave behind what another had set.
    """
    with _lock:
        _limits.append(None if _limits else _libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if limit is not None:
                limit.restore_original_limits()
