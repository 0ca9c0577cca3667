"""The page, served to tests from this process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tiny import tiny_llava

from app.methods import own_options
from app.page import build
from app.registry import Loaded, Progress, Registry
from app.server import launch


def own_defaults() -> list[Any]:
    """What the page's fields for the options of methods hold at first."""
    return [one.default for _, one in own_options()]


@contextmanager
def served(registry: Registry) -> Iterator[str]:
    """Serve the page on a free port of the loopback; yields its address."""
    demo = build(registry)
    address = launch(demo, quiet=True)
    registry.start()
    try:
        yield address
    finally:
        demo.close(verbose=False)


@contextmanager
def slowed(registry: Registry, seconds: float) -> Iterator[list[float]]:
    """Make each forward pass of the language model take longer; yields the moments at which they began."""
    began: list[float] = []

    def wait(*_: object) -> None:
        began.append(time.monotonic())
        time.sleep(seconds)

    hook = registry.loaded.model.model.language_model.register_forward_pre_hook(wait)
    try:
        yield began
    finally:
        hook.remove()


def ready(registry: Registry) -> Registry:
    """The registry, once its model is loaded."""
    for _ in registry.wait():
        pass
    assert registry.failure is None, registry.failure
    return registry


def small_registry(make: Callable[..., tuple[Any, Any]] = tiny_llava, **how: Any) -> Registry:
    """A registry that has loaded the small model, and its processor, that ``make`` makes of random weights."""

    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.5, "making a small model")
        return Loaded(model_id, *make(**how), "cpu", 1)

    return ready(Registry(load=load))
