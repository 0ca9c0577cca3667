"""An OpenAI-compatible chat endpoint for pictures, on Ray Serve."""

from resprune.serve.launch import check_free, launch

__all__ = [
    "check_free",
    "launch",
]
