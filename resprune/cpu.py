"""What the processor calls itself, and what it can do: Linux tells it; elsewhere little is known."""

import platform
from functools import cache
from pathlib import Path


def name() -> str:
    """Its model, such as "Intel(R) Xeon(R) Processor"; elsewhere its kind."""
    return _facts().get("model name") or platform.processor() or platform.machine()


def flags() -> set[str]:
    """Its instruction sets, such as "avx512_bf16"; none where nothing is known."""
    return set(_facts().get("flags", "").split())


@cache
def _facts() -> dict[str, str]:
    """What is said of the first core."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
