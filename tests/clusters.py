"""Commands that start workers, as tests run them: in a process of their own, with the workers to be seen and killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch
from tiny import picture, tiny_llava

from resprune.compare.comparison import answer
from resprune.models.loading import load
from resprune.settings import Settings

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
DTYPES = (torch.float32, torch.bfloat16)  # a processor chooses between them


def save_tiny(folder: Path) -> str:
    """Write a small checkpoint there; its name for ``--model``."""
    for part in tiny_llava(grid=6):
        part.save_pretrained(folder)
    return str(folder)


def save_pictures(folder: Path, count: int) -> list[Path]:
    """Write pictures there."""
    files = [folder / f"{i}.png" for i in range(count)]
    for i, file in enumerate(files):
        picture(i).save(file)
    return files


@contextmanager
def started(*arguments: str, log: Path) -> Iterator[subprocess.Popen]:
    """``python -m resprune ...``, its standard error in ``log``; ended with what it started at the end."""
    command = [sys.executable, "-m", "resprune", *arguments]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=ENVIRONMENT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()


def workers(process: subprocess.Popen, name: str) -> list[psutil.Process]:
    """Ray's workers of a name below a process."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and f"ray::{name}" in " ".join(child.cmdline()):
                found.append(child)
    return found


def expected(model: str, asked: list[tuple[Path, str, int]], tokens: int) -> list[list[str]]:
    """Of each type in which a model may compute, the answers of one process to pictures, questions and budgets."""
    lists = []
    for dtype in DTYPES:
        loaded, processor = load(model, dtype=dtype)
        said = []
        for file, question, keep in asked:
            settings = Settings(keep=keep)
            *_, last = answer(loaded, processor, file, question, settings, max_new_tokens=tokens)
            said.append(last.answer.answer)
        lists.append(said)
    return lists
