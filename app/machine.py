"""What the figures were measured on, in words that name no person, computer or folder."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("resprune", "torch", "transformers", "gradio")


def named(model_id: str) -> str:
    """A model's id; of one that was loaded from a folder, the folder's own name."""
    return Path(model_id).name if os.path.isabs(model_id) or Path(model_id).is_dir() else model_id


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a checkout that was never installed
            found[package] = "unknown"
    return found


def machine(device: str) -> dict[str, str]:
    """System, processor, memory, and the accelerator if ``device`` is one."""
    import psutil

    facts = {
        "system": f"{platform.system()} on {platform.machine()}",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
    }
    if device.startswith("cuda"):
        import torch

        card = torch.cuda.get_device_properties(device)
        facts["accelerator"] = f"{card.name}, {card.total_memory / 1e9:.0f} GB"
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
