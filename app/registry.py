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


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer, with its processor.

    Attributes:
        id: what it was asked for as.
        device: where it is, in torch's words.
        parameters: how many it has.
        quantization: of its language model, see :func:`resprune.models.load`.
    """

    id: str
    model: Any
    processor: Any
    device: str
    parameters: int
    quantization: str | None = None

    def run(self, task: Callable, *given: Any, **options: Any) -> Any:
        """``task(model, processor, *given, **options)``; whoever computes with the model does so through this."""
        return task(self.model, self.processor, *given, **options)


class Registry:
    """Holds one model; everything else that the page remembers belongs to a visitor.

    Args:
        model_id: which model to load first.
        load: ``load(model_id, quantization=...)`` yields its :class:`Progress` and returns the :class:`Loaded` model;
            another one in tests.
        quantization: of the first model's language model.

    Attributes:
        model_id: of the model that is loaded, or that is being loaded.
        loaded: the one that answers; ``None`` before the first is there.
        failure: why the latest could not be loaded.
    """

    def __init__(
        self, model_id: str = "bundled", load: Callable | None = None, quantization: str | None = None
    ) -> None:
        self.first = self.model_id = model_id
        self.quantization = quantization
        self.progress = Progress(0.0, "waiting to load")
        self.failure: str | None = None
        self.loaded: Loaded | None = None
        self._load = load or load_model
        self._finished = threading.Event()
        self._in_use = threading.Lock()
        self._loading = threading.Lock()
        self._began = False

    @property
    def busy(self) -> bool:
        """Whether a model is being loaded, or about to be."""
        return self._loading.locked() or not self._finished.is_set()

    def start(self) -> None:
        """Begin to load in the background; a second call does nothing."""
        if not self._began:
            self._begin(self.model_id, self.quantization)

    def start_here(self) -> None:
        """Load the first model in this thread, and return when it is there or has failed."""
        self._began = self._loading.acquire()
        self._run(self.quantization)

    def choose(self, model_id: str, quantization: str | None = None) -> None:
        """Begin to load another model in the background; the present one answers until it is there.

        Raises:
            Refused: if one is being loaded already.
        """
        if not self._begin(model_id, quantization):
            raise Refused("Another model is being loaded; wait until it is there.")

    def wait(self, stop: threading.Event | None = None, every: float = 0.2) -> Iterator[Progress]:
        """Yield the progress each ``every`` seconds until a model is ready, loading has failed or ``stop`` is set."""
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

    def _begin(self, model_id: str, quantization: str | None) -> bool:
        if not self._loading.acquire(blocking=False):
            return False
        self._began, self.model_id, self.failure = True, model_id, None
        self.progress = Progress(0.0, "waiting to load")
        threading.Thread(target=self._run, args=(quantization,), name="load model", daemon=True).start()
        return True

    def _run(self, quantization: str | None) -> None:
        try:
            steps = self._load(self.model_id, **({"quantization": quantization} if quantization else {}))
            while True:
                try:
                    self.progress = next(steps)
                except StopIteration as end:
                    self._exchange(end.value)
                    return
        except Exception as error:
            self.failure = f"The model could not be loaded: {report(error)}"
            self.model_id = self.loaded.id if self.loaded else self.model_id
        finally:
            self._loading.release()
            self._finished.set()

    def _exchange(self, loaded: Loaded) -> None:
        """Put the new model in the place of the one before, once nobody uses that any more."""
        with self._in_use:
            before, self.loaded = self.loaded, loaded
        self.progress = Progress(1.0, "ready")
        if before:
            from resprune.models import unload

            unload(before.model)


def load_model(model_id: str, quantization: str | None = None) -> Iterator[Progress]:
    """Load and warm up a model step by step; the libraries are imported here, so that the page is up before them."""
    yield Progress(0.05, "starting PyTorch")
    import torch  # noqa: F401

    yield Progress(0.35, "starting Transformers")
    from resprune.compare import compare
    from resprune.models import load
    from resprune.settings import Settings

    yield Progress(0.65, "reading the weights")
    model, processor = yield from _reported(
        lambda progress: load(model_id, quantization=quantization, progress=progress)
    )
    yield Progress(0.85, "warming up")
    from PIL import Image

    picture = Image.new("RGB", (336, 336), "white")
    for mass in (False, True):
        for _ in compare(model, processor, picture, "What is in it?", Settings(mass=mass), max_new_tokens=2):
            pass
    parameters = sum(p.numel() for p in model.parameters())
    return Loaded(model_id, model, processor, str(model.device), parameters, quantization)


def _reported(load: Callable[[Callable[[str, float], None]], Any]) -> Iterator[Progress]:
    """Run ``load`` in a thread of its own and yield what it reports; return what it returns."""
    steps: list[tuple[str, float]] = [("reading the weights", 0.0)]
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(load(lambda step, share: steps.append((step, share))))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        step, share = steps[-1]
        yield Progress(0.65 + 0.2 * share, f"{step}, {share:.0%}")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
