"""Questions a second of one replica, where clients ask at once: answered one after the other, or in batches.

    python -m benchmarks.serving [--direct | --before DIR] [--clients 1 8 32] [--batch 1 8] [--out FILE.json]

Each client asks its next question when it has the answer to the last. Pictures, questions, budgets and methods of a
round differ; so do the lengths of the answers, which are the model's own, up to a limit. The batches take turns in each
round, after a warm-up. With --direct there is no HTTP and no Ray: the same queue, in this process. With --before the
endpoint of another checkout takes its turn too.
"""

import argparse
import base64
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from benchmarks.machine import machine, write
from resprune.compare import Asked, Update
from resprune.device import device_of
from resprune.models import assets_dir, load
from resprune.serve import Batches
from resprune.settings import Settings

QUESTIONS = (
    "What animal is in the picture?",
    "How many animals are there?",
    "Describe the picture.",
    "Is there a cake?",
)
WAYS = ({"keep": 128}, {"keep": "22%", "mass": True}, {"keep": 64, "method": "divprune"})
PATIENCE = 300  # seconds for an endpoint to listen

Ask = Callable[[int], None]


def question(number: int) -> tuple[bytes, str, dict[str, Any]]:
    """The picture, the words and the settings of a question; their numbers have no common divisor."""
    pictures = sorted((assets_dir() / "examples").glob("*.png"))
    return (
        pictures[number % len(pictures)].read_bytes(),
        QUESTIONS[number % len(QUESTIONS)],
        WAYS[number % len(WAYS)],
    )


@contextmanager
def direct(options: argparse.Namespace) -> Iterator[dict[str, Ask]]:
    """A way to ask for each size of batch, of one model in this process."""
    model, processor = load(options.model)
    queue = Batches(model, processor, 1)

    def ask(batch: int, number: int) -> None:
        picture, words, settings = question(number)
        told: SimpleQueue[Update | Exception] = SimpleQueue()
        queue.most = batch
        queue.ask(Asked(picture, words, Settings(**settings), options.tokens), told.put)
        while not getattr(update := told.get(), "answer", None):
            if isinstance(update, Exception):
                raise update

    options.device = device_of(model)
    yield {str(batch): partial(ask, batch) for batch in options.batch}


@contextmanager
def served(options: argparse.Namespace) -> Iterator[dict[str, Ask]]:
    """A way to ask for each size of batch, of an endpoint with one replica each."""
    with ExitStack() as stack:
        here = {str(batch): (Path.cwd(), ["--batch", str(batch)]) for batch in options.batch}
        starts = {"before": (options.before, [])} | here if options.before else here
        ports = {name: stack.enter_context(_endpoint(options.model, *start)) for name, start in starts.items()}

        def ask(name: str, number: int) -> None:
            picture, words, settings = question(number)
            url = "data:image/png;base64," + base64.b64encode(picture).decode()
            content = [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": url}}]
            asked = {"model": options.model, "messages": [{"role": "user", "content": content}], "resprune": settings}
            request = urllib.request.Request(
                f"http://127.0.0.1:{ports[name]}/v1/chat/completions",
                json.dumps(asked | {"max_tokens": options.tokens}).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                answer.read()

        options.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        yield {name: partial(ask, name) for name in ports}


@contextmanager
def _endpoint(model: str, root: Path, more: list[str]) -> Iterator[int]:
    """The port of an endpoint in a process of its own, of the checkout at ``root``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "resprune", "serve", "--model", model, "--port", str(port), *more]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stderr=log, stdout=log, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"The endpoint did not start:\n{log.read()}")
                time.sleep(0.2)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def round_of(ask: Ask, clients: int, count: int) -> tuple[float, float, list[float]]:
    """Questions a second while ``clients`` ask ``count`` of them, the milliseconds of processor time that each took in
    this process, and how long each waited, in seconds.
    """
    numbers, waits = itertools.count(), []

    def client() -> None:
        while (number := next(numbers)) < count:
            began = time.perf_counter()
            ask(number)
            waits.append(time.perf_counter() - began)

    start, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(client) for _ in range(clients)]:
            done.result()
    return count / (time.perf_counter() - start), (time.process_time() - worked) * 1e3 / count, waits


def measure(asks: dict[str, Ask], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of clients and way to ask; the first way is what the others are compared with."""
    for ask in asks.values():
        round_of(ask, 8, 16)
    rows, first = [], next(iter(asks))
    for clients in options.clients:
        rates: dict[str, list[float]] = {name: [] for name in asks}
        worked: dict[str, list[float]] = {name: [] for name in asks}
        waits: dict[str, list[float]] = {name: [] for name in asks}
        for round_ in range(options.rounds):
            for name in asks if round_ % 2 else reversed(asks):
                rate, work, waited = round_of(asks[name], clients, max(options.questions, 2 * clients))
                rates[name].append(rate)
                worked[name].append(work)
                waits[name] += waited
        for name in asks:
            rows.append(
                {
                    "clients": clients,
                    "at_once": name,
                    "per_second": _spread(rates[name]),
                    "times_first": _spread([a / b for a, b in zip(rates[name], rates[first], strict=True)]),
                    "cpu_ms": _spread(worked[name]) if options.direct else None,
                    "wait_s": {
                        "median": statistics.median(waits[name]),
                        "of_20_one_above": statistics.quantiles(waits[name], n=20)[-1],
                    },
                }
            )
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        f"| clients | questions at once | a second | times {rows[0]['at_once']} | processor time of each, ms "
        "| wait, s: median, 95 of 100 |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        rate, times, wait, cpu = row["per_second"], row["times_first"], row["wait_s"], row["cpu_ms"]
        work = f"{cpu['median']:.0f} ({cpu['min']:.0f} to {cpu['max']:.0f})" if cpu else "not known"
        lines.append(
            f"| {row['clients']} | {row['at_once']} | {rate['median']:.2f} ({rate['min']:.2f} to {rate['max']:.2f}) | "
            f"{times['median']:.2f} ({times['min']:.2f} to {times['max']:.2f}) | {work} | {wait['median']:.2f}, "
            f"{wait['of_20_one_above']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled", help="(%(default)s)")
    parser.add_argument("--direct", action="store_true", help="without HTTP and Ray, in this process")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout, whose endpoint is asked as well")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="questions at once (%(default)s)")
    parser.add_argument("--questions", type=int, default=32, help="a round, twice the clients at least (%(default)s)")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer, at most (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write all figures there as JSON")
    options = parser.parse_args()
    with (direct if options.direct else served)(options) as asks:
        rows = measure(asks, options)
    report = machine(options.device) | {
        "model": options.model,
        "over": "no network" if options.direct else "HTTP",
        **{name: getattr(options, name) for name in ("questions", "tokens", "rounds")},
        "rows": rows,
    }
    print(f"{report['processor']}, {report['threads']} threads, {report['device']}; {report['over']}")
    print(table(rows))
    if options.out:
        write(options.out, report)


if __name__ == "__main__":
    sys.exit(main())
