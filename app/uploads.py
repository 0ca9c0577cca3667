"""Files that the user gives."""

from typing import Any, NamedTuple

from gradio.data_classes import FileData, ListFiles

LONGEST = 255  # characters of a file's name, as systems have it


class Upload(NamedTuple):
    """A file that was uploaded: where it lies, and what the visitor calls it, of which its own name may lack some."""

    path: str
    name: str


def paths(component: Any) -> Any:
    """The ``gr.File`` or ``gr.UploadButton``, handing on the path of its upload, or an :class:`Upload` for each.

    Gradio itself makes an empty file for each upload, which nobody deletes.
    """
    component.preprocess = _several if component.file_count == "multiple" else _one
    return component


def _one(payload: FileData | None) -> str | None:
    return None if payload is None else payload.path


def _several(payload: ListFiles | None) -> list[Upload] | None:
    return None if payload is None else [Upload(file.path, _own_name(file)) for file in payload.root]


def _own_name(file: FileData) -> str:
    name = file.orig_name or ""
    return name if len(name) <= LONGEST and name.isprintable() else ""
