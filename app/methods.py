"""The methods that the page offers, and components for their options, made from what the methods themselves declare."""

from functools import cache
from typing import Any

import gradio as gr

from resprune.methods import Method, available, built_in, parse
from resprune.options import Option

# Ours that the page offers; ablations and the rest are for studies.
OURS = {
    "resprune": "ResPrune",
    "cdpruner": "CDPruner",
    "divprune": "DivPrune",
    "uniform": "Uniform grid",
    "random": "Random",
}
FEW_STEPS = 10  # a slider over a wider range moves by whole numbers
LARGEST = 2**31  # whole number that a browser's field keeps as it is


@cache
def page_methods() -> dict[str, str]:
    """What people read of each method, by its name: ours, then those of other packages."""
    others = [name for name, method in available().items() if name not in built_in() and not method.inside]
    return OURS | {name: name for name in others}


@cache
def own_options() -> tuple[tuple[str, Option], ...]:
    """The options of all methods on the page, each beside its method's name."""
    return tuple((name, one) for name in page_methods() for one in available()[name].options())


def method_text(method: str, values: tuple[Any, ...]) -> str:
    """A method as :func:`resprune.methods.parse` reads it.

    Args:
        method: its name.
        values: of all components of :func:`own_options`; those of other methods say nothing.

    Raises:
        InputError: if one is out of its range.
    """
    chosen = available().get(method)
    if chosen is None:
        return method
    own = {one.name: value for (name, one), value in zip(own_options(), values, strict=True) if name == method}
    return str(chosen(**own))


def values_of(text: str) -> tuple[str, list[Any]] | None:
    """The name of a method and the value of each component of :func:`own_options`, of which those of other methods
    stay as they are; ``None`` where the page does not offer the method.
    """
    method: Method = parse(text)
    if method.name not in page_methods():
        return None
    return method.name, [getattr(method, one.name) if name == method.name else gr.skip() for name, one in own_options()]


def component(method: str, one: Option) -> gr.components.Component:
    """A field for an option: its name, what it means, and the values that it takes."""
    shown = {"value": one.default, "label": one.name, "info": one.meaning, "elem_id": f"{method}-{one.name}"}
    if one.choices:
        return (gr.Radio if len(one.choices) == 2 else gr.Dropdown)(list(one.choices), **shown)
    if one.usual:
        low, high = one.usual
        return gr.Slider(low, high, step=1 if high - low > FEW_STEPS else 0.01, buttons=[], **shown)
    if isinstance(one.default, int):
        most = LARGEST if one.most is None else min(one.most, LARGEST)
        return gr.Number(precision=0, minimum=one.least, maximum=most, **shown)
    if isinstance(one.default, float):
        return gr.Number(minimum=one.least, maximum=one.most, **shown)
    return gr.Textbox(**shown)
