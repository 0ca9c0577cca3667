"""An OpenAI-compatible chat endpoint for pictures, on Ray Serve."""

from resprune.serve.batches import Batches
from resprune.serve.launch import check_free, launch

__all__ = [
    "Batches",
    "check_free",
    "launch",
]
