"""The files of a job, wherever they lie: uploads, a zip, a folder of the server. Nothing here trusts a name or a size.

Pictures are never unpacked under the names that an archive gives them, so a name cannot lead anywhere.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from app.failures import Refused
from app.uploads import Upload
from resprune.images import ENDINGS, Names, readings, readings_of

FOLDERS = "RESPRUNE_FOLDERS"  # of the environment: folders that visitors may name, separated as in PATH
PICTURES = ENDINGS
TABLES = (".csv", ".tsv", ".jsonl")
CLOSED = (
    "Folders of this server are closed to visitors; upload the pictures. Who runs the server opens a folder by naming "
    f"it in {FOLDERS}."
)
LINK = "is a link, which is not followed"
UTF8 = 0x800  # of a zip's entry: its name is UTF-8
UNICODE_NAME = 0x7075  # the extra field that holds an entry's name as UTF-8
END_RECORD, END_MARK, LONGEST_COMMENT = 22, b"PK\x05\x06", 65535


@dataclass(frozen=True)
class Limits:
    """What a job may hold at most: files in a zip or folder, bytes of one file, bytes of all, rows."""

    files: int = 2000
    file_bytes: int = 50_000_000
    total_bytes: int = 250_000_000
    rows: int = 500

    @property
    def directory_bytes(self) -> int:
        """Of a zip's list of files, at 500 bytes each: what a larger list costs is spent before it can be counted."""
        return 500 * self.files


@dataclass(frozen=True)
class Problem:
    """What could not be used: where it stands, as the user knows it, and why."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass
class Pool:
    """Files by name, to be read on demand, and what was wrong with the others.

    Attributes:
        files: name, with ``/`` between folders, to a function that reads the file or raises :class:`Refused`.
        paths: of those files that stay where they are and need no copy.
        problems: files that were left out.
        aliases: pairs of another name and the name that it may stand for: in an archive nobody knows the code page.
    """

    files: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)

    def of_kind(self, suffixes: Sequence[str]) -> list[str]:
        """Names that end so, in order."""
        return [name for name in self.files if PurePosixPath(name).suffix.lower() in suffixes]

    def find(self, name: str, folder: str = "") -> str | None:
        """The file that a table means: by its whole name, from the table's folder on or not, or by its last part.

        Names are compared as :class:`resprune.images.Names` does. To be called once all files are there.

        Raises:
            InputError: if it could be several files.
        """
        asked = list(dict.fromkeys([_normal(f"{folder}/{name}"), _normal(name)]))
        for one in asked:
            if one in self.files:
                return one
        whole, last = self._names
        for known in whole:
            for one in asked:
                if found := known.closest(one):
                    return found
        for known in last:
            if found := known.closest(PurePosixPath(asked[-1]).name):
                return found
        return None

    @cached_property
    def _names(self) -> tuple[list[Names], list[Names]]:
        """Whole names, and their last parts; of each first the names that are shown, then the :attr:`aliases`."""
        both = [[(name, name) for name in self.files], self.aliases]
        last = [[(PurePosixPath(name).name, file) for name, file in pairs] for pairs in both]
        return [Names(pairs) for pairs in both], [Names(pairs) for pairs in last]


def uploaded(given: Sequence[str | Path | Upload], limits: Limits) -> Pool:
    """The files that a visitor uploaded; zips among them are opened, but not zips in zips."""
    pool = Pool()
    for one in given:
        path, own = one if isinstance(one, Upload) else (one, "")
        path = Path(path)
        name = PurePosixPath(_normal(own)).name
        if PurePosixPath(name).suffix.lower() != path.suffix.lower():  # it is another kind of name, or none
            name = path.name
        if path.suffix.lower() == ".zip":
            for entry, names, read in _unzipped(path, name, limits, pool.problems):
                _add(pool, entry, read)
                pool.aliases += ((other, entry) for other in names)
        else:
            _add(pool, name, _reader(path, limits))
    return pool


def folder(text: str, limits: Limits) -> Pool:
    """The files under a folder of the server.

    Raises:
        Refused: in the same words whether the folder is closed or does not exist, so that nobody can look around.
    """
    root = _opened(text)
    pool = Pool()
    for path in _walk(root, pool.problems):
        if len(pool.files) >= limits.files:
            pool.problems.append(Problem(root.name, f"only its first {limits.files:,} files are used"))
            break
        name, *others = _under(root, path)
        _add(pool, name, _reader(path, limits))
        pool.paths.setdefault(name, path)
        pool.aliases += ((other, name) for other in others)
    return pool


def _opened(text: str) -> Path:
    try:
        wanted = Path(text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # missing, a null character, a loop of links
        raise Refused(CLOSED) from None
    if not wanted.is_dir() or not any(wanted.is_relative_to(root) for root in _open_folders()):
        raise Refused(CLOSED)
    return wanted


def _open_folders() -> Iterator[Path]:
    """Those of :data:`FOLDERS` that are there; one that is missing, as a disk may be, closes no other."""
    for part in os.environ.get(FOLDERS, "").split(os.pathsep):
        with suppress(OSError, RuntimeError):
            if part:
                yield Path(part).resolve(strict=True)


def _walk(root: Path, problems: list[Problem]) -> Iterator[Path]:
    """All files under a folder; what is passed over is named."""

    def unreadable(error: OSError) -> None:
        problems.append(Problem(_under(root, error.filename)[0], f"cannot be read ({error.strerror})"))

    for where, folders, names in os.walk(root, onerror=unreadable):  # which follows no link to a folder
        folders.sort()
        for path in (Path(where, name) for name in sorted([*folders, *names])):
            if path.name.startswith("."):
                continue
            if path.is_symlink():
                problems.append(Problem(_under(root, path)[0], LINK))
            elif path.is_file():
                yield path
            elif not path.is_dir():
                problems.append(Problem(_under(root, path)[0], "is no file"))


def _under(root: Path, path: str | Path) -> list[str]:
    """A path as a visitor may see it, and what else it may be, where it is no UTF-8."""
    name = Path(path).relative_to(root).as_posix() if Path(path) != root else root.name
    return readings_of(name) or [name]


def _add(pool: Pool, name: str, read: Callable[[], bytes]) -> None:
    if PurePosixPath(name).name.startswith((".", "__MACOSX")) or name.startswith("__MACOSX/"):
        return
    if not _usable(name):
        pool.problems.append(Problem(name, "is neither a picture nor a table (CSV, TSV, JSONL)"))
    elif name in pool.files:
        pool.problems.append(Problem(name, "is there twice; the first one is used"))
    else:
        pool.files[name] = read


def _usable(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURES + TABLES


def _reader(path: Path, limits: Limits) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return _bounded(file.read(limits.file_bytes + 1), limits)
        except OSError as error:
            raise Refused(f"it cannot be read ({error.strerror})") from error

    return read


def _bounded(content: bytes, limits: Limits) -> bytes:
    if len(content) > limits.file_bytes:
        raise Refused(f"it has more than {limits.file_bytes / 1e6:.0f} MB")
    return content


def _unzipped(
    path: Path, zip_name: str, limits: Limits, problems: list[Problem]
) -> Iterator[tuple[str, list[str], Callable[[], bytes]]]:
    """Of each file of an archive its name, the other names that it may have, and what reads it."""
    try:
        if _directory_bytes(path) > limits.directory_bytes:
            raise Refused(f"has more than {limits.files:,} files; split it")
        archive = zipfile.ZipFile(path)  # closed with the last reader of its files
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except Refused as refusal:
        problems.append(Problem(zip_name, str(refusal)))
        return
    except Exception:  # zipfile raises whatever it likes at hostile files
        problems.append(Problem(zip_name, "is no zip that can be read"))
        return
    if len(entries) > limits.files:
        problems.append(Problem(zip_name, f"has {len(entries):,} files, more than {limits.files:,}; split it"))
        return
    for entry in entries:
        shown, *others = _entry_names(entry)
        name = _normal(shown)
        if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name[:3]:
            problems.append(Problem(f"{zip_name}, {shown}", "its name leads out of the archive"))
        elif entry.flag_bits & 1:
            problems.append(Problem(f"{zip_name}, {name}", "is encrypted"))
        elif stat.S_ISLNK(entry.external_attr >> 16) and _usable(name):
            problems.append(Problem(f"{zip_name}, {name}", LINK))
        else:
            yield name, [_normal(other) for other in others], _entry_reader(archive, entry, limits)


def _entry_names(entry: zipfile.ZipInfo) -> list[str]:
    """What a file of an archive may be called, the most likely first: many programs do not say how they write names."""
    if entry.flag_bits & UTF8:
        return [entry.filename]
    try:
        raw = entry.orig_filename.encode("cp437").partition(b"\0")[0]  # as which zipfile has read it
    except UnicodeEncodeError:  # it has been told another one
        return [entry.filename]
    # In Japanese and Chinese code pages half a character may look like the backslash between folders.
    read = sorted(readings(raw), key=lambda name: "\\" in name)
    return list(dict.fromkeys(filter(None, [_unicode_name(entry.extra, raw), *read])))


def _unicode_name(extra: bytes, raw: bytes) -> str:
    """The name as UTF-8 that may stand among an entry's extra fields; empty, if none does or it is that of before."""
    while len(extra) >= 9:
        kind, length = struct.unpack("<HH", extra[:4])
        content, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_NAME and content[1:5] == struct.pack("<L", zlib.crc32(raw)):
            with suppress(UnicodeDecodeError):
                return content[5:].decode()
    return ""


def _entry_reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(entry) as file:
                content = file.read(limits.file_bytes + 1)  # whatever size the archive claims
        except Exception as error:
            raise Refused("it is damaged in the archive") from error
        return _bounded(content, limits)

    return read


def _directory_bytes(path: Path) -> int:
    """Size of the list of files that the end of a zip announces; what is no zip announces none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_RECORD - LONGEST_COMMENT))
        tail = file.read()
    plain = tail[-END_RECORD:]  # without a comment the record is the file's end, and Python's module looks there first
    at = len(tail) - END_RECORD if plain[:4] == END_MARK and plain[-2:] == b"\0\0" else tail.rfind(END_MARK)
    record = tail[at : at + END_RECORD]
    return struct.unpack("<L", record[12:16])[0] if at >= 0 and len(record) == END_RECORD else 0


def _normal(name: str) -> str:
    name = name.replace("\\", "/").strip()
    while name.startswith("./"):
        name = name[2:]
    return name
