"""What all endpoints for programs share: the options of pruning, and errors as one sentence."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import gradio as gr

from app.asking import Options
from app.failures import Refused, report

# Components that name the options, in the order of the endpoints' parameters; they are not shown.
OPTIONS: list[Callable[[], gr.components.Component]] = [
    partial(gr.Textbox, "128", label="Budget: tokens such as 128, a share such as 22% or 0.22, or auto"),
    partial(gr.Textbox, Options.method, label="Method, with its options as in resprune:alpha=4:words=all"),
    partial(gr.Checkbox, Options.mass, label="Whether kept tokens carry the weight of those they stand for"),
    partial(gr.Radio, ["original", "sequential"], value=Options.positions, label="Positions of kept tokens"),
    partial(gr.Number, Options.max_new_tokens, label="Tokens of an answer, at most, a whole number"),
]
MOST_NEW_TOKENS = 512
DEVICE = {"concurrency_id": "device", "concurrency_limit": 1}  # of endpoints that keep it busy


def options_of(
    keep: str = "128",
    method: str = Options.method,
    mass: bool = Options.mass,
    positions: str = Options.positions,
    max_new_tokens: int = Options.max_new_tokens,
) -> Options:
    """The values of :data:`OPTIONS` as options; an answer is at most :data:`MOST_NEW_TOKENS` long, whatever is asked.

    Raises:
        Refused: if the length is no whole number.
    """
    length = min(_whole("max_new_tokens", max_new_tokens, 1), MOST_NEW_TOKENS)
    return Options(keep, method, mass, positions, length)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least or value % 1:
        raise Refused(f"{name} is {str(value)[:40]!r}; give a whole number of {least} or more.")
    return int(value)


def endpoint(name: str, function: Callable, inputs: Any, outputs: Any, **limits: Any) -> None:
    """Name an endpoint.

    Its description is the docstring's first paragraph, its parameters are called as the function's, ``*options`` as
    those of :func:`options_of`, and its errors are :class:`gr.Error`.
    """
    description = (inspect.getdoc(_plain(function)) or "").split("\n\n")[0]
    named = told(function)
    named.__signature__ = _signature(function)
    gr.on([], named, inputs, outputs, api_name=name, api_description=" ".join(description.split()), **limits)


def told(function: Callable) -> Callable:
    """The function, or generator function, with every error as one sentence for the caller."""
    if inspect.isgeneratorfunction(_plain(function)):

        @wraps(function)
        def generator(*values: Any) -> Iterator[Any]:
            try:
                yield from function(*values)
            except Exception as error:
                raise gr.Error(report(error), print_exception=False) from error

        return generator

    @wraps(function)
    def plain(*values: Any) -> Any:
        try:
            return function(*values)
        except Exception as error:
            raise gr.Error(report(error), print_exception=False) from error

    return plain


def _plain(function: Callable) -> Callable:
    return function.func if isinstance(function, partial) else function


def _signature(function: Callable) -> inspect.Signature:
    """The function's own, with the options by name in the place of ``*options``."""
    signature, named = inspect.signature(function), inspect.signature(options_of).parameters.values()
    several = inspect.Parameter.VAR_POSITIONAL
    spread = [part for own in signature.parameters.values() for part in (named if own.kind is several else [own])]
    return signature.replace(parameters=[part.replace(kind=part.POSITIONAL_OR_KEYWORD) for part in spread])
