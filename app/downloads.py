"""Files that a visitor takes along: written for the moment, and gone within the hour."""

import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "resprune-download-"
SECONDS = 3600


def download(name: str, text: str) -> str:
    """Write ``text`` into a new folder under the name that the visitor's browser will use; returns the path.

    Gradio makes a copy of its own and deletes that by its own clock, so old folders can go.
    """
    for old in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if time.time() - old.stat().st_mtime > SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=PREFIX)) / name
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)
