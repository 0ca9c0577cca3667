"""How a study names a way to prune: ``resprune``, ``divprune+mass``, ``resprune:alpha=0.5:words=all+mass``."""

from resprune.errors import InputError
from resprune.settings import Keep, Settings

MASS = "+mass"  # at the end of a name: the kept tokens carry their mass
_READ = {
    "alpha": float,
    "alike": float,
    "sign": int,
    "positions": str,
    "words": str,
    "pooling": str,
    "weighting": str,
    "kernel": str,
}


def method_of(name: str) -> str:
    """The method in a name."""
    return name.removesuffix(MASS).partition(":")[0]


def settings_of(name: str, keep: Keep, seed: int = 0) -> Settings:
    """What a name stands for: a method, then settings of it, then perhaps :data:`MASS`.

    Raises:
        InputError: if there is no such method or setting, or a value is none.
    """
    method, *given = name.removesuffix(MASS).split(":")
    settings = {}
    for text in given:
        key, _, value = text.partition("=")
        if key not in _READ:
            known = ", ".join(_READ)
            raise InputError(f"{name!r} sets {key!r}; behind a method's name set {known}, as in alpha=0.5.")
        try:
            settings[key] = _READ[key](value)
        except ValueError as error:
            raise InputError(f"{name!r} sets {key} to {value!r}; give a number.") from error
    return Settings(keep=keep, method=method, mass=name.endswith(MASS), seed=seed, **settings)
