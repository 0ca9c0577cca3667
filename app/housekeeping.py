"""What must go while the page is served: old files, and what Gradio remembers of visitors who left."""

import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import gradio as gr
from gradio.route_utils import delete_files_created_by_app
from gradio.state_holder import SessionState, StateHolder

from app import downloads

OFTEN = 60.0  # seconds between two looks at the visitors
log = logging.getLogger(__name__)


def keep_house(demo: gr.Blocks) -> None:
    """Delete old files as ``demo.delete_cache`` says, and forget visitors, while the page is served.

    Gradio deletes uploads too, until one comes while it looks through them: then it stops for good, and says nothing.
    Here the next time is simply another try.
    """
    deleted = time.monotonic()
    while demo.is_running:
        every, age = demo.delete_cache or (3600, 3600)
        time.sleep(min(every, OFTEN))
        try:
            forget_visitors(demo.state_holder, age)
            if time.monotonic() - deleted >= every:
                deleted = time.monotonic()
                delete_files_created_by_app(demo, age)
                delete_halves(Path(demo.app.uploaded_file_dir), age)
                downloads.delete_old(age)
        except Exception as error:  # a set that changed while it was read, a file that went meanwhile
            log.warning("Old files will be deleted at the next try: %s", error)


def delete_halves(uploads: Path, age: float) -> None:
    """Delete what there is of uploads that broke off or found the disk full ``age`` seconds ago; Gradio forgets it."""
    for path in uploads.glob("tmp*"):
        with suppress(OSError):  # somebody else's
            if path.is_file() and time.time() - path.stat().st_mtime > age:
                path.unlink()


def forget_visitors(holder: StateHolder, age: float) -> None:
    """Drop visitors whose tab was closed ``age`` seconds ago, and those of whom there is nothing to know.

    Gradio keeps ten thousand of them, a third of a MB each, and takes each call of a program for a new one. A visitor
    of whom nothing is known meets the same page again.
    """
    now = datetime.now()
    with holder.lock:
        for name, session in list(holder.session_data.items()):
            idle = now - holder.time_last_used.get(name, now)
            blank = _blank(session, holder.blocks)
            if (blank or session.is_closed) and idle > timedelta(seconds=OFTEN if blank else max(age, OFTEN)):
                holder.session_data.pop(name, None)
                holder.time_last_used.pop(name, None)


def _blank(session: SessionState, page: gr.Blocks) -> bool:
    """Whether a visitor has no value in a ``gr.State``, and every component as it was at first."""
    own = session.blocks_config.blocks
    return not session.state_data and all(own.get(key) is block for key, block in page.default_config.blocks.items())
