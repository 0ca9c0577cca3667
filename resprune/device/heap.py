"""The C library's heap, where it is glibc's; elsewhere nothing happens."""

import ctypes

_M_ARENA_MAX = -8  # of glibc's malloc.h


def trim_heap() -> None:
    """Give the C library's free pages back to the system."""
    _call("malloc_trim", 0)


def limit_arenas(most: int = 2) -> None:
    """Let all threads share ``most`` heaps, so that a server under load stays as small as it is.

    Each of some dozen threads that come and go gets a heap of its own otherwise, and keeps what it once needed: large
    blocks with something small behind them. To be called before there are more threads than that.
    """
    _call("mallopt", _M_ARENA_MAX, most)


def _call(name: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL(None), name)(*arguments)
    except (AttributeError, OSError, TypeError):
        return
