"""What the processor calls itself, and what it can do: Linux tells it; elsewhere little is known."""

import os
import platform
from functools import cache
from pathlib import Path

import torch


def processor_name() -> str:
    """Its model, such as "Intel(R) Xeon(R) Processor"; elsewhere its kind."""
    return _facts().get("model name") or platform.processor() or platform.machine()


def processor_flags() -> set[str]:
    """Its instruction sets, such as "avx512_bf16"; none where nothing is known."""
    return set(_facts().get("flags", "").split())


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def described_machine(device: str | torch.device) -> str:
    """What a model runs on, in words: the graphics card, or the processor and its cores."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {usable_cores()} cores"


@cache
def _facts() -> dict[str, str]:
    """What is said of the first core."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
