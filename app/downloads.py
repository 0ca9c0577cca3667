"""Files that a visitor takes along: made on the click, and deleted like uploads."""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

PREFIX = "resprune-download-"
# The browser fetches what the hidden button holds when it is clicked, so it is clicked once it holds the new file.
FETCH = "(file) => {{ setTimeout(() => document.querySelector('#{0}-file')?.click(), 100) }}"


def save_button(label: str, elem_id: str, write: Callable[..., str], inputs: Any, **props: Any) -> gr.Button:
    """A button that makes a file and hands it to the browser.

    Args:
        label: of the button.
        elem_id: of the button; that of the hidden one beside it ends in ``-file``.
        write: from the values of ``inputs`` to the file's path; it raises :class:`gr.Error` where there is none.
        inputs: components.
        props: of the button.
    """
    button = gr.Button(label, elem_id=elem_id, **props)
    # The class hides it: "hidden" alone is forgotten where the column around it was not shown at first.
    hidden = gr.DownloadButton(visible="hidden", elem_id=f"{elem_id}-file", elem_classes="fetched")
    made = button.click(write, inputs, hidden, api_visibility="private", show_progress="hidden")
    made.success(None, hidden, None, js=FETCH.format(elem_id), api_visibility="private", queue=False)
    return button


def delete_old(age: float) -> None:
    """Delete what :func:`download` wrote more than ``age`` seconds ago."""
    for old in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with suppress(OSError):  # gone meanwhile
            if time.time() - old.stat().st_mtime > age:
                shutil.rmtree(old, ignore_errors=True)


def download(name: str, text: str) -> str:
    """Write ``text`` into a new folder under the name that the visitor's browser will use; returns the path.

    Gradio makes a copy of its own, which is deleted as uploads are.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX)) / name
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)
