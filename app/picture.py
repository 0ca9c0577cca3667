"""The picture that the user gives."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

NO_UPLOAD = "This picture was not uploaded to this page; upload it first."


def picture(value: str | None = None, **props: Any) -> gr.Image:
    """Gradio's image input, to be dropped, pasted or chosen.

    It hands on the path of the uploaded file as it is. Gradio itself would open, turn and convert the picture first,
    with errors of its own; so the library alone judges what a picture is, and says so in a sentence.
    """
    image = gr.Image(
        value,
        type="filepath",
        label="Picture",
        show_label=False,
        sources=["upload", "clipboard", "webcam"],
        buttons=[],
        interactive=True,
        placeholder="Drop a picture, paste one, or click",
        alt_text="The picture that the question is about",
        **props,
    )
    image.preprocess = _path  # not in a class of our own: for each, Gradio writes a .pyi file beside the source
    return image


def _path(payload: ImageData | None) -> str | None:
    """Where the upload lies. Gradio checks only what calls itself a file, so it is checked here that it is one.

    Raises:
        gr.Error: if it is another file of the server.
    """
    if payload is None or payload.path is None:
        return None
    if not Path(payload.path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise gr.Error(NO_UPLOAD, print_exception=False)
    return payload.path
