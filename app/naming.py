"""What a model is called where others read it."""

import os
from pathlib import Path


def named(model_id: str) -> str:
    """A model's id; of one that was loaded from a folder, the folder's own name."""
    return Path(model_id).name if os.path.isabs(model_id) or Path(model_id).is_dir() else model_id
