"""Which file a name means: systems and programs spell the same name in several ways."""

import unicodedata
from collections.abc import Callable, Iterable

from resprune.errors import InputError, quoted

NAMED = 3  # of several files that a name could mean, those that a message repeats


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``name`` means; ``None`` if there is none.

    The same letters win. Else an accent may stand in its letter or behind it (macOS writes ``a`` and a diaeresis where
    others write ``ä``), and else letters may be capital or small.

    Raises:
        InputError: if it could be several of them.
    """
    names = list(names)
    if name in names:
        return name
    for spelling in _SPELLINGS:
        wanted = spelling(name)
        found = [known for known in names if spelling(known) == wanted]
        if len(found) > 1:
            several = ", ".join(quoted(known) for known in sorted(found)[:NAMED])
            raise InputError(f"{quoted(name)} could be each of {several}; write the name as the file has it.")
        if found:
            return found[0]
    return None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _small(name: str) -> str:
    return _composed(_composed(name).casefold())  # small letters may be composed where the capital ones are not


_SPELLINGS: tuple[Callable[[str], str], ...] = (_composed, _small)
