"""Jobs on the disk: what was asked, each result as it comes, and the votes, so that a restart loses nothing.

A job is known by its key, which nobody can guess and no list shows: its folder is named after a digest of the key. All
jobs lie in one folder that is bounded and cleans itself.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.failures import Refused
from app.inspect.items import Item
from app.inspect.pool import Limits, Pool, Problem

VERSION = 1
PLAN, JOURNAL = "job.json", "journal.jsonl"
KEY = re.compile(r"[A-Za-z0-9_-]{22}")
UNKNOWN = "There is no job with this key; it may have been deleted, or have expired. Start a new one."
FULL = "The server holds as many jobs as it can; delete one of yours, or try again later."


@dataclass(frozen=True)
class Plan:
    """What a job is to do.

    Attributes:
        settings: of pruning, see :meth:`app.asking.Options.as_dict`.
        model: id of the model that it was begun with.
        seed: of the blind votes' sides and order.
        items: to be asked, in order.
        pictures: for each item, its file: a name in the job's folder, or a path of the server.
        problems: what was left out, in words.
    """

    settings: dict[str, Any]
    model: str
    seed: int
    items: list[Item]
    pictures: list[str]
    problems: list[str]


@dataclass
class Job:
    """A job as far as it has come; what is noted here is on the disk when the method returns.

    Attributes:
        results: by number of the item: ``full`` and ``pruned``, each an answer's fields, and ``change``; or ``error``.
        votes: by number of the item, ``"full"``, ``"pruned"`` or ``"tie"``.
    """

    folder: Path
    plan: Plan
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    votes: dict[int, str] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def pending(self) -> list[int]:
        """Items without a result, in order; none once the job is cancelled."""
        return [] if self.cancelled else [i for i in range(len(self.plan.items)) if i not in self.results]

    def picture(self, item: int) -> Path:
        """The picture's file; an absolute path stays itself when joined to a folder."""
        return self.folder / self.plan.pictures[item]

    def note(self, entry: dict[str, Any]) -> None:
        """Take an entry of the journal, and write it down: ``result``, ``vote`` or ``cancelled``."""
        line = b"\n" + json.dumps(entry, allow_nan=False).encode()  # in front, to end a line that a crash cut short
        with (self.folder / JOURNAL).open("ab", buffering=0) as journal:  # one write: lines of two tabs never mix
            journal.write(line + b"\n")
            os.fsync(journal.fileno())
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"result": dict(result), "item": int(item)} if item < len(self.plan.items):
                self.results[item] = result
            case {"vote": str(vote), "item": int(item)} if item < len(self.plan.items):
                self.votes[item] = vote
            case {"cancelled": True}:
                self.cancelled = True

    def reread(self) -> None:
        """Take all of the journal but lines that a crash cut short: what they said is asked again."""
        path = self.folder / JOURNAL
        for line in path.read_bytes().splitlines() if path.exists() else []:
            with suppress(ValueError):
                self._take(json.loads(line))


class Store:
    """All jobs of a server.

    Args:
        root: their folder, readable by this user alone.
        bytes_at_most: of all jobs together.
        days: after which a job that nobody touches is deleted.
        limits: of one job.
    """

    def __init__(
        self,
        root: Path | None = None,
        bytes_at_most: int = 2_000_000_000,
        days: float = 7,
        limits: Limits | None = None,
    ) -> None:
        self.root = root or default_root()
        self.limits = limits or Limits()
        self._bytes_at_most, self._seconds = bytes_at_most, days * 86400
        self._running: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def create(
        self, pool: Pool, items: list[Item], problems: list[Problem], settings: dict[str, Any], model: str
    ) -> str:
        """Copy the pictures into a new job, and return its key. Pictures that cannot be read are left out and named.

        Raises:
            Refused: if there is no room, or no picture is left.
        """
        self.clean(self.limits.total_bytes)
        key = secrets.token_urlsafe(16)
        folder = self._folder(key)
        folder.mkdir(parents=True, mode=0o700)
        try:
            copies, left_out = self._copied(folder, pool, items)
            kept = [item for item in items if item.name in copies]
            if not kept:
                raise Refused(f"No picture can be used: {left_out[0]}." if left_out else "There is no picture.")
            said = [str(problem) for problem in [*problems, *left_out]]
            pictures = [copies[item.name] for item in kept]
            plan = Plan(settings, model, secrets.randbelow(2**31), kept, pictures, said)
            text = json.dumps({"version": VERSION, **asdict(plan)}, allow_nan=False)
            (folder / PLAN).write_text(text, encoding="ascii")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return key

    def open(self, key: str) -> Job:
        """The job of a key.

        Raises:
            Refused: if there is none, or another version of the program made it.
        """
        folder = self._folder(key)
        try:
            stored = json.loads((folder / PLAN).read_text(encoding="ascii"))
        except FileNotFoundError:
            raise Refused(UNKNOWN) from None
        if stored.pop("version") != VERSION:
            raise Refused("This job was begun by another version of the program; start a new one.")
        items = [Item(item["name"], item["question"], tuple(item["answers"])) for item in stored.pop("items")]
        job = Job(folder, Plan(items=items, **stored))
        job.reread()
        return job

    def delete(self, key: str) -> None:
        """Stop a job, and remove all of it."""
        self.pause(key)
        with self._lock:
            shutil.rmtree(self._folder(key), ignore_errors=True)

    @contextmanager
    def running(self, key: str) -> Iterator[threading.Event]:
        """The right to run a job, which one caller has at a time; the event is set when it is to stop.

        Raises:
            Refused: if it runs already.
        """
        name, stop = self._folder(key).name, threading.Event()
        with self._lock:
            if name in self._running:
                raise Refused("This job is running already, perhaps in another tab.")
            self._running[name] = stop
        try:
            yield stop
        finally:
            stop.set()
            with self._lock:
                del self._running[name]

    def is_running(self, key: str) -> bool:
        """Whether somebody runs a job and has not stopped it."""
        with self._lock:
            stop = self._running.get(self._folder(key).name)
        return stop is not None and not stop.is_set()

    def pause(self, key: str) -> None:
        """Stop a job within a token; nothing is lost but the answer under way."""
        with self._lock:
            stop = self._running.get(self._folder(key).name)
        if stop:
            stop.set()

    def clean(self, room: int = 0) -> None:
        """Delete jobs that nobody has touched for long, so that ``room`` bytes are left.

        Raises:
            Refused: if they are not, since all other jobs are of the last hour or running.
        """
        with self._lock:
            idle = sorted((_touched(f), f) for f in self.root.glob("*") if f.name not in self._running)
            used = sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())
            for touched, folder in idle:
                age = time.time() - touched
                if age < self._seconds and (used + room <= self._bytes_at_most or age < 3600):
                    continue
                used -= sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                shutil.rmtree(folder, ignore_errors=True)
        if used + room > self._bytes_at_most:
            raise Refused(FULL)

    def _folder(self, key: str) -> Path:
        if not isinstance(key, str) or not KEY.fullmatch(key.strip()):
            raise Refused(UNKNOWN)
        return self.root / hashlib.sha256(key.strip().encode()).hexdigest()[:32]

    def _copied(self, folder: Path, pool: Pool, items: list[Item]) -> tuple[dict[str, str], list[Problem]]:
        """For each picture that can be read, where it is; and what was wrong with the others."""
        where, left_out, total = {}, [], 0
        for number, name in enumerate(dict.fromkeys(item.name for item in items)):
            if name in pool.paths:
                where[name] = str(pool.paths[name])
                continue
            try:
                content = pool.files[name]()
            except Refused as refusal:
                left_out.append(Problem(name, str(refusal)))
                continue
            total += len(content)
            if total > self.limits.total_bytes:
                left_out.append(Problem(name, f"and all after it: more than {self.limits.total_bytes / 1e6:.0f} MB"))
                break
            where[name] = f"{number:04}"
            (folder / where[name]).write_bytes(content)
        return where, left_out


def default_root() -> Path:
    """Where ``RESPRUNE_JOBS`` of the environment says, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RESPRUNE_JOBS") or cache / "resprune" / "jobs")


def _touched(folder: Path) -> float:
    return max((file.stat().st_mtime for file in folder.glob("*.json*")), default=folder.stat().st_mtime)
