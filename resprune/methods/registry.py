"""Which methods there are: each file of this folder that defines one, and those of other installed packages."""

import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby

from resprune.errors import InputError, quoted
from resprune.methods.base import Method

GROUP = "resprune.methods"  # of entry points: a method's name, and its class
FIRST = "resprune"


def available() -> dict[str, type[Method]]:
    """All methods by name: ours, then those of other packages. What is wrong with others says :func:`problems`."""
    return built_in() | _found()[0]


@cache
def built_in() -> dict[str, type[Method]]:
    """Our own methods by name, ResPrune first, the others in the order of their names."""
    here = __name__.rpartition(".")[0]
    modules = [import_module(f"{here}.{found.name}") for found in pkgutil.iter_modules(import_module(here).__path__)]
    classes = [one for module in modules for _, one in inspect.getmembers(module, inspect.isclass)]
    ours = {one.name: one for one in classes if issubclass(one, Method) and "name" in vars(one)}
    return {name: ours[name] for name in sorted(ours, key=lambda name: (name != FIRST, name))}


def problems() -> dict[str, str]:
    """For each name that a package offers in vain, a sentence: why it cannot be used."""
    return dict(_found()[1])


def parse(text: str) -> Method:
    """A method as people write it: its name, then its options, as in ``resprune:alpha=4:words=all``.

    Raises:
        InputError: if there is no such method or option, or a value is out of its range.
    """
    if not isinstance(text, str):
        raise InputError(f"The method is {quoted(text)}; give its name, or an object such as ResPrune().")
    name, *given = (part.strip() for part in text.split(":"))
    methods = available()
    if name not in methods:
        if name in problems():
            raise InputError(problems()[name])
        raise InputError(f"There is no method {quoted(name)}; choose one of {', '.join(methods)}.")
    return methods[name].of_texts(given, f"The method {name!r}")


@cache
def _found() -> tuple[dict[str, type[Method]], dict[str, str]]:
    return _sorted_out(entry_points(group=GROUP))


def _sorted_out(offers: Iterable[EntryPoint]) -> tuple[dict[str, type[Method]], dict[str, str]]:
    """The methods of other packages, and why some cannot be used. A name that is taken twice is nobody's."""
    found: dict[str, type[Method]] = {}
    wrong: dict[str, str] = {}
    for name, same in groupby(sorted(offers, key=lambda offer: offer.name), key=lambda offer: offer.name):
        offered = {(_package(offer), offer.value): offer for offer in same}
        packages = " and ".join(sorted(package for package, _ in offered))
        if name in built_in():
            wrong[name] = f"The method name {name!r} of {packages} is taken by ResPrune itself; rename it there."
        elif len(offered) > 1:
            wrong[name] = f"The method name {name!r} is taken twice, by {packages}; uninstall one of them."
        else:
            try:
                found[name] = _loaded(*offered.values())
            except Exception as error:  # code of others fails as it likes
                said = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
                wrong[name] = f"The method {name!r} of {packages} cannot be used ({said}); mend or uninstall it."
    return found, wrong


def _loaded(offer: EntryPoint) -> type[Method]:
    method = offer.load()
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise TypeError(f"{offer.value} is no subclass of resprune.methods.Method")
    if getattr(method, "name", None) != offer.name:
        raise TypeError(f"{offer.value} calls itself {getattr(method, 'name', None)!r}")
    if "__dataclass_params__" not in vars(method):
        raise TypeError(f"{offer.value} is no frozen dataclass")
    return method


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else offer.module
