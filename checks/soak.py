"""``make soak``: many users at once for minutes, and what must hold meanwhile and afterwards.

The server is the page of ``app.py`` in a process of its own, so that its memory, threads and descriptors are its own;
the users come over the loopback. Each line of the verdict passes or fails with its figures; one failure ends in status
1.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import httpx
import psutil
from gradio_client import Client
from gradio_client.utils import QueueError

from app.address import reached_directly
from checks.soak_visitors import Known, Log, Turn, Visitor, ask, marker

EVERY = 1.0  # seconds between two looks at the server
MARGIN = 1.0  # seconds by which a later request must be later to count as one that overtook
FLAT = 0.05
PLACES = {"GRADIO_TEMP_DIR": "uploads", "RESPRUNE_JOBS": "jobs", "TMPDIR": "tmp"}  # of the environment; folders


def main() -> int:
    """Run the soak that the command line asks for; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m checks.soak", description=__doc__)
    parser.add_argument("--users", type=int, default=20, help="at once (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of load (%(default)s)")
    parser.add_argument("--pictures", type=int, default=2, help="of each user's own (%(default)s)")
    parser.add_argument(
        "--kept-for", type=int, default=300, help="seconds that the server keeps uploads (%(default)s; the page: 3600)"
    )
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return _serve(options.serve, options.kept_for)
    with (
        tempfile.TemporaryDirectory(prefix="resprune-soak-") as folder,
        _server(Path(folder), options.kept_for) as (process, address),
    ):
        return soak(Path(folder), process, address, options)


def soak(folder: Path, process: psutil.Process, address: str, options: argparse.Namespace) -> int:
    """Load the server at ``address``, print the verdict, and return the status to exit with."""
    users, pictures = options.users, options.pictures
    known = _known(folder, address, users, pictures)
    distinct = len({one.marker for one in known}) == len(known)
    before, log = _settled(process, address), Log()
    junk = folder / "junk.png"
    junk.write_bytes(b"no picture at all")
    until = time.monotonic() + 60 * options.minutes
    given = [known[n * pictures : (n + 1) * pictures] for n in range(users)]
    visitors = [Visitor(address, mine, log, until, seed, junk) for seed, mine in enumerate(given)]
    for visitor in visitors:
        visitor.start()
    watch = threading.Thread(target=_burst, args=(address, known, users, log), daemon=True)
    watch.start()
    memory = []
    while any(visitor.is_alive() for visitor in visitors) and time.monotonic() < until + 200:
        memory.append(process.memory_info().rss)
        time.sleep(EVERY)
    hung = sum(visitor.is_alive() for visitor in visitors)
    watch.join(200)
    after = _settled(process, address, before)
    again = _answers(address, known[:2])
    left = _files_left(folder, options.kept_for)
    part = max(1, len(memory) // 4)
    early, late = (median(values) for values in (memory[part : 2 * part], memory[-part:]))
    overtaken = _overtaken(log.turns)
    counts = log.counts
    waited, refused, most = counts["told their place"], counts["refused politely"], max(memory)
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    minutes = [median(memory[start : start + round(60 / EVERY)]) for start in range(0, len(memory), round(60 / EVERY))]
    print("memory by the minute, MB:", *(f"{value / 1e6:.0f}" for value in minutes))
    checks = [
        (
            "every answer is the quiet server's, about the asker's own picture",
            not log.faults and distinct and counts["answered"] > 0,
            f"{counts['answered']} answers and {counts['job done']} jobs, {len(log.faults)} faults",
        ),
        ("nobody hangs", hung == 0, f"{hung} of {users} users"),
        ("places in the queue are told", waited > 0, f"{waited} requests"),
        ("nobody overtakes", overtaken == 0, f"{overtaken} of {len(log.turns)} that waited"),
        ("beyond the queue's room people are refused politely", refused > 0, f"{refused} refused"),
        (
            "memory is flat",
            late <= early * (1 + FLAT),
            f"{early / 1e6:.0f} MB early, {late / 1e6:.0f} MB late ({late / early - 1:+.1%}), most {most / 1e6:.0f} MB",
        ),
        *(
            (f"no {name} is left", after[name] <= count, f"{count} before, {after[name]} after")
            for name, count in before.items()
        ),
        ("no file is left", not left, f"{len(left)} left" + (f", such as {left[0]}" if left else "")),
        ("the next questions are answered", again == [one.answer for one in known[:2]], f"{len(again)} answered"),
    ]
    for name, good, figures in checks:
        print(f"{'pass' if good else 'FAIL'}  {name}: {figures}", flush=True)
    for fault in log.faults[:20]:
        print(f"      {fault}")
    return int(not all(good for _, good, _ in checks))


def _known(folder: Path, address: str, users: int, pictures: int) -> list[Known]:
    """A new scene and a question for each, with what the server says while nobody else asks."""
    from app.scenes import new_scene

    client, found = Client(address, verbose=False), []
    for number in range(users * pictures):
        image, questions = new_scene()
        path = folder / f"scene-{number}.png"
        image.save(path)
        text, figures = ask(client, Known(path, questions[0], "", "")).result(timeout=300)
        found.append(Known(path, questions[0], text, marker(figures)))
    client.close()
    return found


def _answers(address: str, known: list[Known]) -> list[str]:
    client = Client(address, verbose=False)
    return [ask(client, one).result(timeout=120)[0] for one in known]


def _burst(address: str, known: list[Known], users: int, log: Log) -> None:
    """Once, twice as many requests as the queue has room for, all at the same moment."""
    time.sleep(3)
    client = Client(address, verbose=False, max_workers=40)
    for job in [ask(client, known[n % len(known)]) for n in range(36)]:
        try:
            job.result(timeout=300)
            log.count("answered in the burst")
        except QueueError:
            log.count("refused politely")
        except Exception as error:
            log.fault(f"burst: {type(error).__name__}: {error}")
    client.close()


def _overtaken(turns: list[Turn]) -> int:
    """Requests before which one began that had been queued later."""
    return sum(
        any(one.queued + MARGIN < other.queued and other.began + MARGIN < one.began for other in turns) for one in turns
    )


def _figures(process: psutil.Process) -> dict[str, int]:
    return {"thread": process.num_threads(), "descriptor": process.num_fds()}


def _settled(process: psutil.Process, address: str, before: dict[str, int] | None = None) -> dict[str, int]:
    """The figures, once they are those of ``before``, or after a minute; without ``before`` those of a quiet server.

    A worker that was idle for ten seconds ends when the next request comes, so now and then there is one.
    """
    began = time.monotonic()
    for _ in range(5):
        time.sleep(12)
        httpx.get(address, timeout=60)
        time.sleep(1)
        if before is None or all(_figures(process)[name] <= before[name] for name in before):
            break
    print(f"settled after {time.monotonic() - began:.0f} s", flush=True)
    return _figures(process)


def _files_left(folder: Path, kept_for: int) -> list[str]:
    """What is in the server's folders once uploads should be deleted, beside what the page itself shows."""
    until, left = time.monotonic() + 2 * kept_for + 60, ["?"]
    while left and time.monotonic() < until:
        time.sleep(1)
        own = (folder / "own.txt").read_text().split("\n")
        found = [path for place in PLACES.values() for path in (folder / place).rglob("*") if path.is_file()]
        left = [name for name in (str(path.relative_to(folder)) for path in found) if name not in own]
    return left


@contextmanager
def _server(folder: Path, kept_for: int):
    """The page in a process of its own, with all its folders under ``folder``; yields it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for place in PLACES.values():
        (folder / place).mkdir()
    reached_directly()
    environment = os.environ | {name: str(folder / place) for name, place in PLACES.items()}
    command = [sys.executable, "-m", "checks.soak", "--serve", str(port), "--kept-for", str(kept_for)]
    with (folder / "server.log").open("w") as log:
        program = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(1200):
            with suppress(httpx.HTTPError):
                httpx.get(address)
                break
            if program.poll() is not None:
                raise SystemExit(f"The server ended: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)
        own = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        (folder / "own.txt").write_text("\n".join(own))
        yield psutil.Process(program.pid), address
    finally:
        program.terminate()
        program.wait(60)
        if keep := os.environ.get("SOAK_LOG"):
            Path(keep).write_bytes((folder / "server.log").read_bytes())


def _serve(port: int, kept_for: int) -> int:
    """Be the page, as ``app.py`` is, but with uploads deleted sooner."""
    from app.page import build
    from app.registry import Registry
    from app.server import launch

    registry = Registry()
    demo = build(registry)
    demo.delete_cache = (kept_for // 4, kept_for)
    launch(demo, "127.0.0.1", port, quiet=True)
    registry.start()
    demo.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
