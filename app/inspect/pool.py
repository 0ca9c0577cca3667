"""The files of a job, wherever they lie: uploads, a zip, a folder of the server. Nothing here trusts a name or a size.

Pictures are never unpacked under the names that an archive gives them, so a name cannot lead anywhere.
"""

import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from app.failures import Refused

FOLDERS = "RESPRUNE_FOLDERS"  # of the environment: folders that visitors may name, separated as in PATH
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
TABLES = (".csv", ".tsv", ".jsonl")
CLOSED = (
    "Folders of this server are closed to visitors; upload the pictures. Who runs the server opens a folder by naming "
    f"it in {FOLDERS}."
)
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
    """

    files: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def of_kind(self, suffixes: Sequence[str]) -> list[str]:
        """Names that end so, in order."""
        return [name for name in self.files if PurePosixPath(name).suffix.lower() in suffixes]

    def find(self, name: str) -> str | None:
        """The file that a table means: by its whole name, or by its last part where only one file has that."""
        name = _normal(name)
        if name in self.files:
            return name
        alike = [known for known in self.files if PurePosixPath(known).name == PurePosixPath(name).name]
        return alike[0] if len(alike) == 1 else None


def uploaded(paths: Sequence[str | Path], limits: Limits) -> Pool:
    """The files that a visitor uploaded; zips among them are opened, but not zips in zips."""
    pool = Pool()
    for path in map(Path, paths):
        if path.suffix.lower() == ".zip":
            for name, read in _unzipped(path, limits, pool.problems):
                _add(pool, name, read)
        else:
            _add(pool, path.name, _reader(path, limits))
    return pool


def folder(text: str, limits: Limits) -> Pool:
    """The files under a folder of the server.

    Raises:
        Refused: in the same words whether the folder is closed or does not exist, so that nobody can look around.
    """
    root = _opened(text)
    pool = Pool()
    for path in _walk(root):
        if len(pool.files) >= limits.files:
            pool.problems.append(Problem(root.name, f"only its first {limits.files:,} files are used"))
            break
        _add(pool, path.relative_to(root).as_posix(), _reader(path, limits))
        pool.paths[path.relative_to(root).as_posix()] = path
    return pool


def _opened(text: str) -> Path:
    try:
        wanted = Path(text).resolve(strict=True)
        allowed = [Path(part).resolve(strict=True) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    except (OSError, ValueError, RuntimeError):  # missing, a null character, a loop of links
        raise Refused(CLOSED) from None
    if not wanted.is_dir() or not any(wanted.is_relative_to(root) for root in allowed):
        raise Refused(CLOSED)
    return wanted


def _walk(root: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(root):  # which follows no link to a folder
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _add(pool: Pool, name: str, read: Callable[[], bytes]) -> None:
    if PurePosixPath(name).name.startswith((".", "__MACOSX")) or name.startswith("__MACOSX/"):
        return
    if PurePosixPath(name).suffix.lower() not in PICTURES + TABLES:
        pool.problems.append(Problem(name, "is neither a picture nor a table (CSV, TSV, JSONL)"))
    elif name in pool.files:
        pool.problems.append(Problem(name, "is there twice; the first one is used"))
    else:
        pool.files[name] = read


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


def _unzipped(path: Path, limits: Limits, problems: list[Problem]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        if _directory_bytes(path) > limits.directory_bytes:
            raise Refused(f"has more than {limits.files:,} files; split it")
        archive = zipfile.ZipFile(path)  # closed with the last reader of its files
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except Refused as refusal:
        problems.append(Problem(path.name, str(refusal)))
        return
    except Exception:  # zipfile raises whatever it likes at hostile files
        problems.append(Problem(path.name, "is no zip that can be read"))
        return
    if len(entries) > limits.files:
        problems.append(Problem(path.name, f"has {len(entries):,} files, more than {limits.files:,}; split it"))
        return
    for entry in entries:
        name = _normal(entry.filename)
        if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name[:3]:
            problems.append(Problem(f"{path.name}, {entry.filename}", "its name leads out of the archive"))
        elif entry.flag_bits & 1:
            problems.append(Problem(f"{path.name}, {name}", "is encrypted"))
        else:
            yield name, _entry_reader(archive, entry, limits)


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
