"""Report: the comparison on the page as one file, the data behind it, and the way back from them to the page."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app import handlers, panels
from app.asking import Options
from app.comparison import AT_ONCE, Comparison
from app.downloads import download, save_button
from app.endpoints import told
from app.failures import Refused, report
from app.methods import own_options, values_of
from app.record import options_of, shown_map
from app.registry import Registry
from app.report import endpoints
from app.report.document import to_html
from app.report.files import MOST_BYTES, from_json, picture_of, to_json
from app.session import Session
from app.uploads import paths

ABOUT = (
    "<p>The comparison above as <b>one file</b>: picture, both answers, the patch map with its slider, figures, "
    "settings, versions and the machine. It opens in any browser, asks no server for anything, and names neither you "
    "nor a folder. The <b>data</b> behind it, as JSON, can be opened here again, by anybody.</p>"
)
NOTHING = "There is no finished comparison yet; ask first."
NAMES = {to_html: "resprune-report.html", to_json: "resprune-report.json"}


def build_report(registry: Registry, comparison: Comparison) -> None:
    """Build the tab inside the one that is open, and its endpoints for programs."""
    gr.HTML(ABOUT, elem_id="report-about", apply_default_css=False)
    with gr.Row(elem_id="report-buttons"):
        for label, elem_id, write in (
            ("Save the report (HTML)", "report-html", to_html),
            ("Save the data (JSON)", "report-json", to_json),
        ):
            save_button(label, elem_id, told(partial(save, write)), comparison.session, min_width=200)
        file = gr.UploadButton(
            "Open a report's data (JSON)", file_types=[".json"], elem_id="report-open", min_width=200
        )
    message = gr.HTML(elem_id="report-message", apply_default_css=False)
    shown = [message, comparison.picture, comparison.question, *comparison.options[1:], *comparison.outputs]
    paths(file)
    opened = file.upload(show, [file, comparison.session], shown, **AT_ONCE)
    file.upload(None, cancels=comparison.done, api_visibility="private")
    drawn = comparison.outputs[handlers.Shown._fields.index("patch_map")]
    opened.then(redraw, comparison.session, drawn, **AT_ONCE)
    endpoints.add(registry)


def save(write: Any, session: Session) -> str:
    """The comparison on the page as a file.

    Raises:
        Refused: if there is none.
    """
    if session.record is None:
        raise Refused(NOTHING)
    return download(NAMES[write], write(session.record))


def show(path: str, session: Session) -> list[Any]:
    """A report's data as the page shows them, or why not: then the page stays as it is."""
    try:
        record = read(path)
        picture = picture_of(record)
    except Exception as error:
        return [panels.message(report(error)), gr.skip(), gr.skip(), *_untouched(), *handlers.Shown()]
    session.leave()
    session.show(record)
    note = panels.stored(record)
    budget = gr.update(maximum=len(record["map"]["order"]), value=len(record["map"]["kept"]))
    outputs = handlers.show(record, note)._replace(budget=budget, patch_map=gr.skip())
    return ["", picture, record["question"], *_options(options_of(record)), *outputs]


def _options(given: Options) -> list[Any]:
    """The values of :attr:`app.comparison.Comparison.options` but for the budget, which is an output already."""
    if given.indices or (chosen := values_of(given.method)) is None:  # by hand, or a method that is not offered
        method, own = gr.skip(), [gr.skip()] * len(own_options())
    else:
        method, own = chosen
    return [given.mass, method, given.positions, given.max_new_tokens, *own]


def _untouched() -> list[Any]:
    return [gr.skip()] * len(_options(Options()))


def redraw(session: Session) -> Any:
    """The map on the page, once the slider that it reads stands where the report says."""
    return shown_map(session.record) if session.record else gr.skip()


def read(path: str) -> dict[str, Any]:
    """The record in a file.

    Raises:
        Refused: see :func:`app.report.files.from_json`.
    """
    with Path(path).open("rb") as file:
        return from_json(file.read(MOST_BYTES + 1))
