"""What a benchmark ran on, and where its figures go."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from resprune.device import processor_flags, processor_name

_KERNELS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # what makes products fast, best first


def machine(device: torch.device) -> dict[str, Any]:
    """Processor or accelerator, memory, threads and versions; nothing that names the machine or its user."""
    described: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "instructions": [name for name in _KERNELS if name in processor_flags()],
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device.type == "cuda":
        described["device_memory_gb"] = round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1)
        described["cuda"] = torch.version.cuda
    return described


def commit() -> str | None:
    """The commit that is checked out, with ``+`` where files differ from it; ``None`` where git cannot tell."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude", "*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def write(path: Path, report: dict[str, Any]) -> None:
    """``report`` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
