"""A study shared among workers of Ray Data: each holds a model, and is given picture after picture."""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from resprune.cluster import Share, connected
from resprune.errors import InputError
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies, weights_of
from resprune.evaluate.study import Folder, Way, answered, key_of, unasked
from resprune.models import load

TRIES = 3  # of a picture whose workers die; Ray would go on for ever


@contextmanager
def ray_crew(address: str, workers: int, model: str, quantization: str | None, batch: int = 1) -> Iterator["RayCrew"]:
    """Workers on a cluster, see :func:`resprune.cluster.connected`, whose errors this has too."""
    with connected(address, workers) as share:
        yield RayCrew(workers, share, model, quantization, batch=batch)


class RayCrew:
    """Workers of Ray. What one was at when it died, another does again; rows are written here alone, each once.

    Args:
        workers: their number.
        share: what each takes of the cluster.
        model: see :func:`resprune.models.load`; each machine must be able to read it.
        quantization: of the model.
        dtype: of the model, ``None`` leaves it to one of the machines.
        batch: questions about a picture that a worker asks at once.

    Attributes:
        weights: of the model, see :func:`resprune.evaluate.weights_of`.

    Raises:
        InputError: if the model cannot be loaded there.
    """

    reports = True

    def __init__(
        self,
        workers: int,
        share: Share,
        model: str,
        quantization: str | None,
        dtype: torch.dtype | None = None,
        batch: int = 1,
    ) -> None:
        import ray

        self._workers, self._share, self._batch = workers, share, batch
        with _explained():
            self.weights, dtype = ray.get(ray.remote(**share.as_dict())(_probe).remote(model, quantization, dtype))
        self._model = (model, quantization, dtype)

    def folder(self, path: Path, plan: dict[str, Any]) -> Folder:
        """Where the rows are written."""
        return Folder(path, plan)

    def run(
        self,
        examples: Sequence[Example],
        tries: Sequence[Way],
        folder: Folder,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[dict[str, Any]]:
        """:func:`resprune.evaluate.run`, a picture at a time, in whatever order they are done.

        Raises:
            InputError: if there is no question, a worker cannot answer, or workers die of the same picture again and
                again. What is answered by then is kept.
        """
        rows = folder.rows()
        known = set(map(key_of, rows))
        left = groupby(unasked(examples, tries, rows), key=lambda entry: entry[1].scene)
        scenes = [{"scene": pickle.dumps(list(questions))} for _, questions in left]
        if not scenes and not rows:
            raise InputError("The question set holds no question that can be asked.")
        with _explained():
            for batch in self._answers(scenes) if scenes else ():
                new = [row for row in pickle.loads(batch["rows"]) if key_of(row) not in known]
                folder.add(new)
                rows += new
                known |= set(map(key_of, new))
                progress(len(rows))
        return rows

    def _answers(self, scenes: list[dict[str, bytes]]) -> Iterator[dict[str, Any]]:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        questions = ray.data.from_items(scenes, override_num_blocks=len(scenes))
        answers = questions.map_batches(
            _Worker,
            fn_constructor_args=(*self._model, self.weights, _tries(), self._batch),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self._workers, max_tasks_in_flight_per_actor=2),
            **self._share.as_dict(),
        )
        yield from answers.iter_rows()


def _tries() -> Any:
    """An actor of Ray that counts how often a picture was begun."""
    import ray

    @ray.remote(num_cpus=0)
    class Tries:  # here, so that its process needs none of our modules
        def __init__(self) -> None:
            self.begun: dict[int, int] = {}

        def begin(self, scene: int) -> int:
            self.begun[scene] = self.begun.get(scene, 0) + 1
            return self.begun[scene]

    return Tries.remote()


class _Worker:
    """Answers the questions about a picture."""

    def __init__(
        self, model: str, quantization: str | None, dtype: torch.dtype, weights: str, tries: Any, batch: int
    ) -> None:
        loaded, processor = load(model, quantization=quantization, dtype=dtype)
        if weights_of(loaded) != weights:
            raise InputError(f"The model {model!r} has other weights on other machines; give all the same.")
        self._replies, self._tries, self._batch = Replies(loaded, processor), tries, batch

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        import ray

        rows = []
        for scene in batch["scene"]:
            questions = pickle.loads(scene)
            picture = questions[0][1].scene
            if ray.get(self._tries.begin.remote(picture)) > TRIES:
                raise InputError(f"Picture {picture} has ended {TRIES} workers, perhaps for want of memory.")
            for new in answered(questions, self._replies, self._batch):
                rows += new
        return {"rows": [pickle.dumps(rows)]}


def _probe(model: str, quantization: str | None, dtype: torch.dtype | None) -> tuple[str, torch.dtype]:
    """What all workers are to agree on: weights, and the type in which they compute."""
    loaded, _ = load(model, quantization=quantization, dtype=dtype)
    return weights_of(loaded), loaded.dtype


@contextmanager
def _explained() -> Iterator[None]:
    """What went wrong in a worker, as a sentence for the user."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException = error
        while (inner := getattr(cause, "cause", None) or cause.__cause__) is not None:
            cause = inner
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from error
        said = str(cause).strip().split("\n")[-1] or type(cause).__name__
        raise InputError(f"A worker failed ({said}); the answers so far are kept, and the command goes on.") from error
