"""Hugging Face's ZeroGPU, where the page has a graphics card only while somebody's question is answered.

There the page's own process has none. ``spaces.GPU`` runs a generator in a fork of it that has one; the model is that
of the fork, everything else that goes in and comes out is pickled. Elsewhere the package ``spaces`` is absent, or its
decorator hands back what it is given, and nothing here is used. Import this before PyTorch.
"""

import inspect
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from app.failures import Refused
from app.registry import Loaded, Progress

try:
    import spaces
except ImportError:
    spaces = None

SECONDS = 60  # that a question may have the card
SWEEP_SECONDS = 120
Work = Callable[[Callable, bytes], Iterator[bytes]]


def active() -> bool:
    """Whether this is a Space on ZeroGPU; the package decides by the same variable."""
    return spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu(work: Work) -> Work:
    """``spaces.GPU`` around a generator; the generator itself where there is no such package."""
    return spaces.GPU(duration=_seconds)(work) if spaces else work


@dataclass(frozen=True)
class Borrowing(Loaded):
    """A model that is on the card only while ``work`` runs; see :meth:`app.registry.Loaded.run`."""

    work: Work | None = None

    def run(self, task: Callable, *given: Any, stop: threading.Event | None = None, **options: Any) -> Any:
        """See there. A stop is noticed when the next result comes.

        Raises:
            InputError: as ``task`` does.
            Refused: if the card is not to be had.
        """
        results = self._results(task, _written((given, options)), stop or threading.Event())
        return results if inspect.isgeneratorfunction(task) else next(results, [])

    def _results(self, task: Callable, sent: bytes, stop: threading.Event) -> Iterator[Any]:
        import gradio as gr

        from resprune.errors import InputError

        try:
            with closing(self.work(task, sent)) as work:
                for written in work:
                    if stop.is_set():
                        return
                    result = _read(written, "cpu")
                    if isinstance(result, InputError):
                        raise result
                    yield result
        except gr.Error as error:  # no card is free, or the visitor's time is spent
            raise Refused(f"The graphics card could not be had: {error.message}") from error


def load_model(model_id: str, quantization: str | None = None) -> Iterator[Progress]:
    """Load a model for ZeroGPU: in this thread, whose CUDA is emulated, and before the page is served.

    There is no warm-up: nothing can be computed yet.
    """
    yield Progress(0.35, "starting Transformers")
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # other threads know nothing of the emulation
    from resprune.models import load

    yield Progress(0.65, "reading the weights")
    model, processor = load(model_id, quantization=quantization)
    parameters = sum(p.numel() for p in model.parameters())

    @on_gpu
    def work(task: Callable, sent: bytes) -> Iterator[bytes]:
        """In the fork, whose model is on the card."""
        from resprune.errors import InputError

        given, options = _read(sent, model.device)
        try:
            done = task(model, processor, *given, stop=threading.Event(), **options)
            for result in done if inspect.isgeneratorfunction(task) else [done]:
                yield _written(_lean(result))
        except InputError as error:
            yield _written(error)

    return Borrowing(model_id, model, processor, str(model.device), parameters, quantization, work)


def _seconds(task: Callable, sent: bytes) -> int:
    return SWEEP_SECONDS if task.__name__ == "sweep" else SECONDS


def _lean(result: Any) -> Any:
    """An update of a growing text without the megabytes of what was kept, which the last one tells."""
    growing = getattr(result, "stage", "done") != "done" and getattr(result, "prune", None)
    return replace(result, prune=None) if growing else result


def _written(value: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _read(content: bytes, device: Any) -> Any:
    """What this program itself has written, its tensors on ``device``."""
    import torch

    return torch.load(io.BytesIO(content), map_location=device, weights_only=False)
