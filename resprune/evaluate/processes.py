"""A study shared by the processes that a launcher started on one machine, such as ``accelerate launch``."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from resprune.device import default_dtype
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies, weights_of
from resprune.evaluate.study import Folder, Way, run

PATIENCE = timedelta(days=7)  # the first process that is done waits so long for the last one


def launched() -> tuple[int, int]:
    """The number of this process among those that a launcher started, and how many they are; (0, 1) without one."""
    try:
        rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        return 0, 1
    return (rank, count) if 0 <= rank < count else (0, 1)


class Ranks:
    """All processes of a launcher: each takes every n-th picture, and writes a file of rows of its own.

    The first process gathers them into the common one. Without a launcher it is one process, which writes that file at
    once.

    Args:
        load: gives the model, on the device of this process and of the ``dtype`` given, and its processor.
        batch: questions that are asked at once.

    Attributes:
        weights: of the model, see :func:`resprune.evaluate.weights_of`.
    """

    def __init__(self, load: Callable[..., tuple[Any, Any]], batch: int = 1) -> None:
        self.rank, self.count = launched()
        self.wait: Callable[[], None] = lambda: None
        how = {}
        if self.count > 1:
            # The state makes this process's device the current one. Processes of one machine may judge differently
            # which type is the faster one (resprune.models.faster_on_cpu), and would then answer differently.
            state = PartialState(timeout=PATIENCE)
            self.wait = state.wait_for_everyone
            (how["dtype"],) = broadcast_object_list([default_dtype(state.device)])
        model, processor = load(**how)
        self._replies, self.weights, self._batch = Replies(model, processor), weights_of(model), batch

    @property
    def reports(self) -> bool:
        """Whether this is the process that knows all rows in the end."""
        return self.rank == 0

    def folder(self, path: Path, plan: dict[str, Any]) -> Folder:
        """Where this process writes its rows; made by the process that reports, whose errors come first."""
        if self.reports:
            folder = Folder(path, plan)
        self.wait()
        return folder if self.count == 1 else Folder(path, plan, self.rank)

    def run(
        self,
        examples: Sequence[Example],
        tries: Sequence[Way],
        folder: Folder,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[dict[str, Any]]:
        """:func:`resprune.evaluate.run`, the work shared.

        Returns:
            All rows in the process that reports; in the others some of them.
        """
        scenes = list(dict.fromkeys(example.scene for example in examples))
        mine = set(scenes[self.rank :: self.count])
        if not mine and scenes:  # more processes than pictures
            rows = folder.rows()
        else:
            rows = run(
                self._replies, examples, tries, folder, progress, lambda example: example.scene in mine, self._batch
            )
        self.wait()
        return folder.gathered() if self.reports else rows
