"""Faults of the machine: each gets a clear message, and the next request is served."""

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from tiny import picture, tiny_llava

from app import api, asking, downloads
from app.failures import Refused, report
from app.inspect import runner
from app.inspect.store import Store
from app.operator import Operator
from app.registry import Loaded, Progress, Registry

ROOT = Path(__file__).parents[2]
NO_ROOM = "The server cannot write to its disk (No space left on device); tell who runs it, and try again later."


def tiny(model_id: str) -> Iterator[Progress]:
    yield Progress(0.5, "making a tiny model")
    return Loaded(model_id, *tiny_llava(grid=6), "cpu", 1)


@pytest.fixture
def image(tmp_path: Path) -> str:
    picture().save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def answer(registry: Registry, image: str) -> str:
    *_, (text, figures) = api.answer(registry, image, "What is it?", "9", "uniform", False, "original", 3)
    assert figures["tokens_kept"] == 9
    return text


def said(function, *values, **options) -> str:
    """What the user is told."""
    with pytest.raises(Exception) as failure:
        function(*values, **options)
    return report(failure.value)


@pytest.mark.parametrize("before", [0, 2], ids=["prefill", "decode"])
def test_out_of_memory_on_the_page_is_a_sentence_and_the_next_is_answered(
    registry: Registry, image: str, before: int
) -> None:
    passes = []

    def exhausted(*_: object) -> None:
        passes.append(1)
        if len(passes) > before:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    expected = answer(registry, image)
    hook = registry.loaded.model.get_decoder().register_forward_pre_hook(exhausted)
    told = said(answer, registry, image)
    hook.remove()
    assert told == "Memory does not suffice for this answer; choose a smaller model or a smaller picture."
    assert len(passes) == before + 1
    assert answer(registry, image) == expected


def test_a_model_that_is_killed_while_it_loads_is_told_and_another_one_loads(image: str) -> None:
    tries = []

    def load(model_id: str) -> Iterator[Progress]:
        tries.append(model_id)
        yield Progress(0.5, "reading the weights")
        if len(tries) == 1:
            raise MemoryError
        return (yield from tiny(model_id))

    registry = Registry("first", load=load)
    for _ in registry.wait():
        pass
    assert said(answer, registry, image) == (
        "The model could not be loaded: The device ran out of memory; choose a smaller picture or a smaller model, and "
        "ask again."
    )
    registry.choose("second")
    while registry.busy:
        time.sleep(0.01)
    assert registry.failure is None
    assert answer(registry, image) == answer(registry, image)


def test_a_full_disk_is_said_and_leaves_no_half_of_a_job(
    registry: Registry, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "jobs")
    given = (store, [image], "", "What?", asking.Options(9, max_new_tokens=2), "bundled")
    whole = Path.write_bytes

    def cut(path: Path, content: bytes) -> int:
        whole(path, content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", cut)
        assert said(runner.begin, *given) == NO_ROOM
    assert list(store.root.iterdir()) == []
    key = runner.begin(*given)
    job = store.open(key)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert said(list, runner.run(registry, job, threading.Event())) == NO_ROOM
    again = store.open(key)
    assert list(runner.run(registry, again, threading.Event())) == again.pending or not again.pending
    assert store.open(key).pending == []


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_upload_that_the_disk_does_not_take_is_said_and_the_next_is_stored(address: str) -> None:
    """Refused by the system itself: for a moment this process may write no file beyond 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    given = {"files": ("large.png", bytes(300_000))}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        told = httpx.post(f"{address}gradio_api/upload", files=given, timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.status_code == 507
    assert told.text == NO_ROOM.replace("No space left on device", "File too large")
    (path,) = httpx.post(f"{address}gradio_api/upload", files=given, timeout=60).json()
    assert Path(path).stat().st_size == 300_000


def test_a_full_disk_keeps_a_report_and_the_next_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert said(downloads.download, "a.txt", "text") == NO_ROOM
    assert Path(downloads.download("a.txt", "text")).read_text() == "text"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone can")
def test_a_folder_of_jobs_that_cannot_be_written_is_said(tmp_path: Path, image: str) -> None:
    """In a process of its own that gives up root's rights, since root may write anywhere."""
    (tmp_path / "jobs").mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & 0o001 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    code = (
        "import sys, os; from pathlib import Path\n"
        "from app.inspect import runner; from app.inspect.store import Store; from app.asking import Options\n"
        "from app.failures import report; import resprune.settings, resprune.images, logging; logging.disable()\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: runner.begin(Store(Path(sys.argv[1])), [sys.argv[2]], '', 'What?', Options(9), 'bundled')\n"
        "except Exception as error: print(report(error))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "jobs"), image]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip().startswith("The server cannot write to its disk (Permission denied)"), done.stderr


def test_a_port_that_is_taken_is_named_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = os.environ | {"PORT": port, "HOST": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, ROOT / "app.py"], env=environment, capture_output=True, text=True, timeout=200
        )
    assert done.returncode != 0
    words = f"Port {port} is taken or may not be used; end what uses it, or give another one, such as PORT=7860."
    assert done.stderr.splitlines()[-1] == words
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("jump", [-10 * 86400, -3600, 3000])
def test_a_clock_that_jumps_loses_no_job_and_no_answer(
    registry: Registry, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    store = Store(tmp_path / "jobs")
    key = runner.begin(store, [image], "", "What?", asking.Options(9, max_new_tokens=2), "bundled")
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + jump)
    other = runner.begin(store, [image], "", "What?", asking.Options(9, max_new_tokens=2), "bundled")
    for begun in (key, other):
        assert list(runner.run(registry, store.open(begun), threading.Event())) == [0]
    text = answer(registry, image)
    path = downloads.download("a.txt", text)
    assert Path(path).read_text() == text


def test_times_are_those_of_a_clock_that_cannot_jump(
    registry: Registry, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    *_, (_, figures) = api.answer(registry, image, "What?", "9", "uniform", False, "original", 3)
    assert all(figures[name] >= 0 for name in ("encode_ms", "select_ms", "prefill_ms", "ttft_ms", "total_ms"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RESPRUNE_AUTH", "nobody", "RESPRUNE_AUTH cannot be read"),
        ("RESPRUNE_AUTH", "name:", "RESPRUNE_AUTH cannot be read"),
        ("RESPRUNE_UPLOAD_MB", "lots", "RESPRUNE_UPLOAD_MB is 'lots'; give a number from 1 to 250."),
        ("RESPRUNE_UPLOAD_MB", "0", "give a number from 1 to 250"),
        ("RESPRUNE_DAYS", "nan", "RESPRUNE_DAYS is 'nan'; give a number from 0 to 365."),
    ],
)
def test_an_operator_s_mistake_is_named_before_the_page_is_up(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=says):
        Operator.of_environment()


def test_an_operator_s_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Operator.of_environment() == Operator(None, 50, 7)
    for name, value in (("AUTH", "ann:a:b, bob:c"), ("UPLOAD_MB", "9"), ("DAYS", "0.5")):
        monkeypatch.setenv(f"RESPRUNE_{name}", value)
    assert Operator.of_environment() == Operator((("ann", "a:b"), ("bob", "c")), 9, 0.5)


def test_an_upload_that_is_gone_is_said(registry: Registry, image: str) -> None:
    expected = answer(registry, image)
    Path(image).rename(image + "x")
    assert said(answer, registry, image) == asking.GONE
    Path(image + "x").rename(image)
    assert answer(registry, image) == expected


def test_what_is_no_fault_of_the_disk_names_no_folder() -> None:
    assert "/secret" not in report(OSError(errno.ENOSPC, "No space left on device", "/secret/place"))
    assert "/secret" not in report(FileNotFoundError(errno.ENOENT, "No such file", "/secret/place"))
    assert report(Refused("A sentence.")) == "A sentence."
    assert "out of memory" in report(MemoryError())
