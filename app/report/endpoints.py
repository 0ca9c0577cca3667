"""The report's endpoints for programs."""

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from app import asking
from app.downloads import download
from app.endpoints import DEVICE, OPTIONS, endpoint, options_of
from app.failures import Refused
from app.picture import picture
from app.record import record_of, with_differences
from app.registry import Registry
from app.report.document import to_html
from app.report.files import MOST_BYTES, from_json, to_json
from app.uploads import paths

Files = tuple[str | None, str | None]


def add(registry: Registry) -> None:
    """Add them to the page that is being built."""
    with gr.Column(visible=False):
        image, question = picture(), gr.Textbox(label="Question")
        options = [build() for build in OPTIONS]
        html, data = gr.File(label="The report, one file of HTML"), gr.File(label="The data behind it, JSON")
        given = paths(gr.File(label="The data of a report, JSON"))
        record = gr.JSON(label="The comparison: picture, question, options, both answers, patch map, differences")
    endpoint("report", partial(_report, registry), [image, question, *options], [html, data], **DEVICE)
    endpoint("report_open", _open, given, record)


def _report(registry: Registry, image: str, question: str, *options: Any) -> Iterator[Files]:
    """Answer a question about a picture with all visual tokens and with the kept ones, and report on it in one file."""
    stop = threading.Event()
    try:
        for _ in registry.wait(stop):
            yield None, None
        with asking.request(registry, image, question, options_of(*options), stop) as request:
            for _ in request.updates():
                yield None, None
            record = with_differences(record_of(request), request.differences())
        yield download("resprune-report.html", to_html(record)), download("resprune-report.json", to_json(record))
    finally:
        stop.set()


def _open(file: str | None) -> dict[str, Any]:
    """Check the data of a report and return the comparison in it."""
    if file is None:
        raise Refused("There is no file yet; give the JSON file of a report.")
    with open(file, "rb") as opened:
        return from_json(opened.read(MOST_BYTES + 1))
