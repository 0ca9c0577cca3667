"""Numbers as people read them: times, memory, ratios."""


def duration(ms: float) -> str:
    """``"3.1 ms"``, ``"34 ms"``, ``"1.24 s"``."""
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def memory_of(count: int) -> str:
    """Bytes as ``"640 kB"`` or ``"12.3 MB"``, in powers of ten."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def compared(full: float, pruned: float, less: str, more: str, same: str) -> tuple[str, str]:
    """How many times smaller the pruned side's number is, and the words for it, as in ``("3.0", "faster")``.

    Worse is said as plainly as better: ``("1.2", "slower")``. What would read 1.0 times is the same.
    """
    if full <= 0 or pruned <= 0 or 0.95 < full / pruned < 1.05:
        return "1.0", same
    return (f"{full / pruned:.1f}", less) if full > pruned else (f"{pruned / full:.1f}", more)
