"""Visitors of a soak: each asks about pictures of their own, and notes what they got."""

import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError, Status

KEEP, LENGTH = "128", 24
NO_PICTURE = "The upload is no picture that can be read; give one of PNG, JPEG, WEBP, GIF, BMP, TIFF."
# What gradio_client says where the answer comes in the moment of the Stop.
BOTH_DONE = "Did not expect 2 tasks to be done."
POLL = 0.02  # seconds
PATIENCE = 180.0  # seconds, after which a request counts as hung


@dataclass(frozen=True)
class Known:
    """A picture, a question about it, and what the quiet server said: its marker is the places of the kept tokens."""

    path: Path
    question: str
    answer: str
    marker: str


@dataclass(frozen=True)
class Turn:
    """When a request was first seen to be queued, and when to be under way; ``time.monotonic``."""

    queued: float
    began: float


@dataclass
class Log:
    """What all visitors saw; safe to write from any thread."""

    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1

    def fault(self, words: str) -> None:
        with self.lock:
            self.faults.append(words)

    def turn(self, turn: Turn) -> None:
        with self.lock:
            self.turns.append(turn)


def ask(client: Client, known: Known) -> Any:
    """Put a question; returns gradio_client's job."""
    return client.submit(handle_file(known.path), known.question, KEEP, max_new_tokens=LENGTH, api_name="/answer")


def broken_off(address: str, size: int) -> None:
    """Begin an upload, send ``size`` bytes of a file that was announced as longer, and close the connection."""
    where = httpx.URL(address)
    begun = b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.png"\r\n\r\n' + bytes(size)
    lines = (
        "POST /gradio_api/upload HTTP/1.1",
        f"Host: {where.host}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {2 * len(begun)}",
        "\r\n",
    )
    with socket.create_connection((where.host, where.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + begun)
        time.sleep(0.3)  # so that the server stores some of it
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the server noticed


def marker(figures: dict[str, Any]) -> str:
    """What only this picture under this question gives: which tokens were kept, in order."""
    return str(figures["kept"])


class Visitor(threading.Thread):
    """One user, with a client of gradio_client: asks, stops, leaves, uploads what is no picture, until ``until``.

    Args:
        address: of the server.
        mine: pictures and questions that this user alone asks.
        log: what is seen goes there.
        until: on the clock of ``time.monotonic``.
        seed: of what is done when.
        junk: a file that is no picture.
    """

    def __init__(self, address: str, mine: list[Known], log: Log, until: float, seed: int, junk: Path) -> None:
        super().__init__(name=f"visitor {seed}", daemon=True)
        self._address, self._mine, self._log, self._until, self._junk = address, mine, log, until, junk
        self._random = random.Random(seed)

    def run(self) -> None:
        self._client = Client(self._address, verbose=False)
        actions = (self._ask, self._halt, self._leave, self._bad, self._cut, self._job)
        while time.monotonic() < self._until:
            (action,) = self._random.choices(actions, weights=(58, 15, 10, 8, 4, 5))
            try:
                action()
            except QueueError:
                self._log.count("refused politely")
                time.sleep(self._random.uniform(0.5, 2.0))
            except Exception as error:
                self._log.fault(f"{action.__name__.strip('_')}: {type(error).__name__}: {str(error)[:200]}")
                time.sleep(1)
        self._client.close()

    def _ask(self) -> None:
        known = self._random.choice(self._mine)
        job = ask(self._client, known)
        self._watched(job)
        text, figures = job.result(timeout=PATIENCE)
        self._log.count("answered")
        if marker(figures) != known.marker:
            self._log.fault(f"an answer about another picture than {known.path.name}")
        elif text != known.answer:
            self._log.fault(f"another answer about {known.path.name}: {text!r} for {known.answer!r}")

    def _watched(self, job: Any) -> None:
        """Follow a job through the queue, and note whether it was told its place."""
        began, queued, told = time.monotonic(), None, False
        while time.monotonic() - began < PATIENCE:
            status = job.status()
            if status.code == Status.IN_QUEUE and status.rank is not None:
                queued, told = queued or time.monotonic(), True
            if status.code in (Status.PROCESSING, Status.ITERATING, Status.FINISHED) or job.done():
                break
            time.sleep(POLL)
        self._log.count("told their place" if told else "begun at once or refused")
        if queued and not job.done():
            self._log.turn(Turn(queued, time.monotonic()))

    def _halt(self) -> None:
        job = ask(self._client, self._random.choice(self._mine))
        until = time.monotonic() + self._random.uniform(0.1, 4.0)
        while time.monotonic() < until and not job.done():
            time.sleep(POLL)
        job.cancel()
        try:
            job.result(timeout=PATIENCE)
        except QueueError:
            raise
        except (CancelledError, KeyError):  # which gradio_client says of a job that was cancelled in the queue
            self._log.count("stopped")
        except ValueError as error:
            if str(error) != BOTH_DONE:
                raise
            self._log.count("stopped too late")
        else:
            self._log.count("stopped too late")

    def _leave(self) -> None:
        """Begin a request and close the connection in the middle of it, as a browser does that is shut."""
        known = self._random.choice(self._mine)
        with httpx.Client(base_url=f"{self._address}gradio_api/", timeout=30) as web:
            (path,) = web.post("upload", files={"files": (known.path.name, known.path.read_bytes())}).json()
            image = {"path": path, "meta": {"_type": "gradio.FileData"}}
            data = [image, known.question, KEEP, "resprune", False, 1, 1, "original", 0, LENGTH]
            begun = web.post("call/answer", json={"data": data})
            if begun.status_code == 503:
                raise QueueError("full")
            with (
                suppress(httpx.ReadTimeout),
                web.stream("GET", f"call/answer/{begun.json()['event_id']}", timeout=0.5) as stream,
            ):
                next(stream.iter_bytes(), b"")
        self._log.count("left in the middle")

    def _bad(self) -> None:
        try:
            self._client.predict(handle_file(self._junk), "What is it?", KEEP, api_name="/answer")
        except AppError as error:
            if str(error) != NO_PICTURE:
                raise
            self._log.count("bad upload refused")
        else:
            self._log.fault("a bad upload was answered")

    def _cut(self) -> None:
        """Upload the half of a picture."""
        broken_off(self._address, 100_000)
        self._log.count("upload broken off")

    def _job(self) -> None:
        """A job of Inspect many: begun, run, read and deleted."""
        known = self._random.choice(self._mine)
        files = [handle_file(known.path)]
        key, _ = self._client.predict(
            files, question=known.question, keep=KEEP, max_new_tokens=LENGTH, api_name="/inspect_start"
        )
        try:
            self._client.predict(key, api_name="/inspect_run")
            (row,) = self._client.predict(key, api_name="/inspect_results")
            if row.get("pruned") != known.answer or row["image"] != known.path.name:
                self._log.fault(f"a job about {known.path.name} got {row.get('pruned', row)!r} for {known.answer!r}")
            self._log.count("job done")
        finally:
            for _ in range(200):
                with suppress(QueueError):
                    self._client.predict(key, api_name="/inspect_delete")
                    break
                time.sleep(0.5)
