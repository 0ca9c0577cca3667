"""Which file a name means: systems and programs spell the same name in several ways."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from resprune.errors import InputError, quoted

# In which a program may have written a name without saying so. What UTF-8 can be is never anything else by chance, and
# cp437 is what the format of zips says.
CODE_PAGES = ("utf-8", "cp437", "cp850", "cp1252", "cp1250", "cp866", "cp1251", "cp932", "gbk", "cp949", "big5")
NAMED = 3  # of several files that a name could mean, those that a message repeats


class Names:
    """Files that are found however their names are spelled.

    The same characters win. Else an accent may stand in its letter or behind it (macOS writes ``a`` and a diaeresis
    where others write ``ä``), and else letters may be capital or small.

    Args:
        names: pairs of a name and of the file that it stands for, which may be the same.
    """

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self._spelled: list[dict[str, list[str]]] = [defaultdict(list) for _ in _SPELLINGS]
        for name, file in names:
            for spelling, known in zip(_SPELLINGS, self._spelled, strict=True):
                if file not in (alike := known[spelling(name)]):
                    alike.append(file)

    def closest(self, name: str) -> str | None:
        """The file that ``name`` means; ``None`` if there is none.

        Raises:
            InputError: if it could be several.
        """
        for spelling, known in zip(_SPELLINGS, self._spelled, strict=True):
            files = known.get(spelling(name), [])
            if len(files) > 1:
                several = " or ".join(quoted(file) for file in sorted(files)[:NAMED])
                raise InputError(f"{quoted(name)} could be {several}; write the name exactly as the file has it.")
            if files:
                return files[0]
        return None


def readings(raw: bytes) -> list[str]:
    """What a name may be whose bytes come without a code page: one, where they are plain; else the likeliest first."""
    if raw.isascii():
        return [raw.decode()]
    names = []
    for code_page in CODE_PAGES:
        with suppress(UnicodeDecodeError):
            names.append(raw.decode(code_page))
    return list(dict.fromkeys(names))


def _same(name: str) -> str:
    return name


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _small(name: str) -> str:
    return _composed(_composed(name).casefold())  # which takes some letters apart


_SPELLINGS: tuple[Callable[[str], str], ...] = (_same, _composed, _small)


def closest_file(folder: Path, name: str) -> Path | None:
    """The file that ``name`` means, from ``folder`` on; its parts are found one by one as :class:`Names` finds them.

    Raises:
        InputError: if a part could be several files or folders, or the name cannot be that of a file.
    """
    if name.lstrip()[:5].lower() == "data:":
        raise InputError(f"{quoted(name)} is a picture itself; store it in a file, and give the file's name.")
    try:
        for spelled in dict.fromkeys((name, name.strip().replace("\\", "/"))):  # the second as Windows writes it
            if (found := _walked(folder / spelled)) and found.is_file():
                return found
    except OSError as error:
        raise InputError(f"{quoted(name)} cannot be looked for ({error.strerror}); check the name.") from error
    return None


def _walked(path: Path) -> Path | None:
    if path.exists():
        return path
    at = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        if (at / part).exists():
            at /= part
        elif at.is_dir() and (known := _inside(at, at.stat().st_mtime_ns).closest(part)):
            at /= known
        else:
            return None
    return at


@lru_cache(maxsize=64)
def _inside(folder: Path, _changed: int) -> Names:
    """What lies in a folder; read again once that has changed."""
    names = [entry.name for entry in folder.iterdir()]
    return Names([(name, name) for name in names] + [(read, name) for name in names for read in readings_of(name)])


def readings_of(name: str) -> list[str]:
    """The :func:`readings` of a name that the system hands out though it is no UTF-8; none of any other."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return readings(os.fsencode(name))
    return []
