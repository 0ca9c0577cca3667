"""How many threads NumPy's linear algebra takes."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager:
    """One, for the length of a ``with`` block: for small products.

    NumPy's threads are not PyTorch's. Handing the processor from the ones to the others takes longer than a small
    product does: with two cores, one thread chose 128 of 576 tokens in half the time of two.
    """
    return _libraries().limit(limits=1, user_api="blas")
