"""What goes while the page is served: uploads, whatever happens meanwhile, and visitors of whom nothing is lost."""

import copy
import io
import logging
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.state_holder import SessionState, StateHolder
from tiny import picture

from app import housekeeping
from app.housekeeping import OFTEN, delete_halves, forget_visitors, keep_house
from app.page import build
from app.registry import Registry
from app.server import MOST_VISITORS, launch
from checks.soak_visitors import broken_off

HOUR = 3600


@pytest.fixture(scope="module")
def demo(registry: Registry) -> Iterator[gr.Blocks]:
    made = build(registry)
    launch(made, quiet=True)
    yield made
    made.close(verbose=False)


@pytest.fixture
def holder(demo: gr.Blocks) -> StateHolder:
    """Of the page, without visitors."""
    demo.state_holder.session_data.clear()
    demo.state_holder.time_last_used.clear()
    return demo.state_holder


def seen(holder: StateHolder, name: str, seconds: float) -> SessionState:
    """A visitor who was last heard of so many seconds ago."""
    session = holder[name]
    holder.time_last_used[name] = datetime.now() - timedelta(seconds=seconds)
    return session


def with_value(session: SessionState) -> SessionState:
    """A visitor of whom the page remembers something."""
    state = next(key for key, block in session.blocks_config.blocks.items() if isinstance(block, gr.State))
    assert session[state] is not None
    return session


def test_visitors_are_forgotten_once_nothing_is_lost(holder: StateHolder) -> None:
    seen(holder, "blank, long ago", OFTEN + 1)
    seen(holder, "blank, just now", 1)
    with_value(seen(holder, "open", 9 * HOUR))
    with_value(seen(holder, "closed lately", HOUR - 60)).is_closed = True
    with_value(seen(holder, "closed", HOUR + 60)).is_closed = True
    changed = seen(holder, "open, a list of choices of their own", 9 * HOUR)
    key, block = next((k, b) for k, b in changed.blocks_config.blocks.items() if isinstance(b, gr.Dropdown))
    changed.blocks_config.blocks[key] = copy.copy(block)
    forget_visitors(holder, HOUR)
    assert list(holder.session_data) == list(holder.time_last_used) == [
        "blank, just now",
        "open",
        "closed lately",
        "open, a list of choices of their own",
    ]  # fmt: skip


def test_a_programs_calls_leave_nothing(demo: gr.Blocks, holder: StateHolder) -> None:
    file = io.BytesIO()
    picture().save(file, "PNG")
    with httpx.Client(base_url=f"{demo.local_url}gradio_api/", timeout=60) as web:
        for _ in range(3):
            (path,) = web.post("upload", files={"files": ("given.png", file.getvalue())}).json()
            image = {"path": path, "meta": {"_type": "gradio.FileData"}}
            data = [image, "What is it?", "9", "resprune", False, "original", 2]
            event = web.post("call/answer", json={"data": data}).json()["event_id"]
            assert "event: complete" in web.get(f"call/answer/{event}").text
    assert len(holder.session_data) == 3, "each call is a visitor of its own"
    forget_visitors(holder, HOUR)
    assert len(holder.session_data) == 3, "who came just now stays"
    for name in list(holder.session_data):
        seen(holder, name, OFTEN + 1)
    forget_visitors(holder, HOUR)
    assert not holder.session_data and not holder.time_last_used


def test_the_half_of_an_upload_is_deleted(demo: gr.Blocks) -> None:
    folder = Path(demo.app.uploaded_file_dir)
    before = set(folder.glob("tmp*"))
    for _ in range(2):
        broken_off(demo.local_url, 1000)
    until = time.monotonic() + 20
    while len(halves := set(folder.glob("tmp*")) - before) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    old, new = halves
    os.utime(old, (time.time() - HOUR - 60,) * 2)
    delete_halves(folder, HOUR)
    assert not old.exists() and new.exists()
    new.unlink()


def test_an_upload_that_breaks_off_leaves_no_trace_in_the_log(
    demo: gr.Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("uvicorn.error")  # it does not propagate
    log.addHandler(caplog.handler)
    try:
        broken_off(demo.local_url, 1000)
        assert httpx.get(demo.local_url, timeout=60).status_code == 200
    finally:
        log.removeHandler(caplog.handler)
    assert caplog.records == []


def test_there_are_never_more_than_the_page_has_room_for(holder: StateHolder) -> None:
    assert holder.capacity == MOST_VISITORS


def test_it_goes_on_after_an_upload_came_in_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gradio's own task ends for good with the first error."""
    app = SimpleNamespace(uploaded_file_dir=tmp_path)
    page, calls = SimpleNamespace(is_running=True, delete_cache=(0, 7), state_holder=None, app=app), []

    def deleting(demo: object, age: int) -> None:
        calls.append(age)
        if len(calls) == 1:
            raise RuntimeError("Set changed size during iteration")
        page.is_running = False

    monkeypatch.setattr(housekeeping, "forget_visitors", lambda holder, age: None)
    monkeypatch.setattr(housekeeping, "delete_files_created_by_app", deleting)
    monkeypatch.setattr(housekeeping.downloads, "delete_old", lambda age: None)
    keep_house(page)
    assert calls == [7, 7]


def test_visitors_are_looked_at_more_often_than_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    page, slept, looks = SimpleNamespace(is_running=True, delete_cache=(3600, 3600), state_holder=None), [], []

    def look(holder: object, age: int) -> None:
        looks.append(age)
        page.is_running = len(looks) < 3

    monkeypatch.setattr(housekeeping.time, "sleep", slept.append)
    monkeypatch.setattr(housekeeping, "forget_visitors", look)
    monkeypatch.setattr(housekeeping, "delete_files_created_by_app", lambda demo, age: pytest.fail("too early"))
    keep_house(page)
    assert slept == [OFTEN] * 3 and looks == [3600] * 3
