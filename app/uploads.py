"""Files that the user gives."""

from typing import Any

from gradio.data_classes import FileData, ListFiles


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
