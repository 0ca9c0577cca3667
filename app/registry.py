"""The one model that the page answers with: loaded in the background, lent to one request at a time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.failures import Refused, report


@dataclass(frozen=True)
class Progress:
    """How far loading is: a share in ``[0, 1]`` of the steps, and the step in words."""

    share: float
    step: str

    @property
    def ready(self) -> bool:
        return self.share >= 1


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer, with its processor."""

    id: str
    model: Any
    processor: Any
    device: str
    parameters: int


class Registry:
    """Loads one model in a thread and lends it out.

    Args:
        model_id: an id of the catalogue, or a folder.
        load: yields :class:`Progress` while it works and returns the :class:`Loaded` model; another one in tests.
    """

    def __init__(self, model_id: str = "bundled", load: Callable | None = None) -> None:
        self.model_id = model_id
        self.progress = Progress(0.0, "waiting to load")
        self.failure: str | None = None
        self.loaded: Loaded | None = None
        self._load = load or load_model
        self._finished = threading.Event()
        self._in_use = threading.Lock()
        self._started = threading.Lock()

    def start(self) -> None:
        """Begin to load in the background; a second call does nothing."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name="load model", daemon=True).start()

    def wait(self, stop: threading.Event | None = None, every: float = 0.2) -> Iterator[Progress]:
        """Yield the progress each ``every`` seconds until the model is ready, loading has failed or ``stop`` is set."""
        self.start()
        while not self._finished.wait(every) and not (stop and stop.is_set()):
            yield self.progress

    @contextmanager
    def lend(self) -> Iterator[Loaded]:
        """The model, for this caller alone until the block ends; to be called once :meth:`wait` is through.

        Raises:
            Refused: if it could not be loaded.
        """
        if self.loaded is None:
            raise Refused(self.failure or "The model is not loaded yet; ask again in a moment.")
        with self._in_use:
            yield self.loaded

    def _run(self) -> None:
        try:
            steps = self._load(self.model_id)
            while True:
                try:
                    self.progress = next(steps)
                except StopIteration as end:
                    self.loaded = end.value
                    self.progress = Progress(1.0, "ready")
                    return
        except Exception as error:
            self.failure = f"The model could not be loaded: {report(error)}"
        finally:
            self._finished.set()


def load_model(model_id: str) -> Iterator[Progress]:
    """Load and warm up a model step by step; the libraries are imported here, so that the page is up before them."""
    yield Progress(0.05, "starting PyTorch")
    import torch  # noqa: F401

    yield Progress(0.35, "starting Transformers")
    from resprune.compare import compare
    from resprune.models import load
    from resprune.settings import Settings

    yield Progress(0.65, "reading the weights")
    model, processor = load(model_id)
    yield Progress(0.85, "warming up")
    from PIL import Image

    picture = Image.new("RGB", (336, 336), "white")
    for _ in compare(model, processor, picture, "What is in the picture?", Settings(), max_new_tokens=2):
        pass
    parameters = sum(p.numel() for p in model.parameters())
    return Loaded(model_id, model, processor, str(model.device), parameters)
