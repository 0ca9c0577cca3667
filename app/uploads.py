"""Files that the user gives, and their end."""

import logging
import time
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ListFiles
from gradio.route_utils import delete_files_created_by_app

log = logging.getLogger(__name__)


def paths(component: Any) -> Any:
    """The ``gr.File`` or ``gr.UploadButton``, handing on the paths of its uploads alone.

    Gradio itself makes an empty file for each upload, which nobody deletes.
    """
    component.preprocess = _several if component.file_count == "multiple" else _one
    return component


def _one(payload: FileData | None) -> str | None:
    return None if payload is None else payload.path


def _several(payload: ListFiles | None) -> list[str] | None:
    return None if payload is None else [file.path for file in payload.root]


def keep_deleting(demo: gr.Blocks) -> None:
    """Delete old uploads as ``demo.delete_cache`` says, while the page is served.

    Gradio does so too, until an upload comes while it looks through the uploads: then it stops for good, and says
    nothing. Here the next time is simply another try.
    """
    while demo.is_running:
        every, age = demo.delete_cache or (3600, 3600)
        time.sleep(every)
        try:
            delete_files_created_by_app(demo, age)
        except Exception as error:  # a set that changed while it was read, a file that went meanwhile
            log.warning("Uploads will be deleted at the next try: %s", error)
