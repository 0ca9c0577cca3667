"""Hostile files for a job of many pictures: what is said of those that are left out, or why there is no job."""

import io
import json
import stat
import zipfile
from functools import partial

from case import Case
from pictures import SVG, plain, saved

EDGE = "File of a job"
NOTHING = "There is nothing to ask: {}."
USED = "a job of 1 picture"


def zipped(files: dict[str, bytes], link: str = "") -> bytes:
    """A zip; ``link`` names a symbolic link in it to /etc/passwd."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, "/etc/passwd")
    return file.getvalue()


def beside(name: str, content: bytes | None = None) -> dict[str, bytes]:
    """A zip of a good picture and of another file."""
    return {"a.zip": zipped({"good.png": saved(plain()), name: saved(plain()) if content is None else content})}


def table(text: str, name: str = "q.csv") -> dict[str, bytes]:
    """A table beside a good picture."""
    return {"good.png": saved(plain()), name: text.encode()}


def _slips(name: str) -> str:
    return f"{USED}; left out: a.zip, {name}: its name leads out of the archive"


def _line(number: int, why: str, name: str = "q.csv") -> str:
    return f"{USED}; left out: {name}, line {number}: {why}"


ROW = "good.png,What is it?\n"
MARKUP = "<img src=x onerror=alert(1)>"
_GIVEN = [
    ("a name that leads up", lambda: beside("../../evil.png"), _slips("../../evil.png")),
    ("a name from the root", lambda: beside("/etc/evil.png"), _slips("/etc/evil.png")),
    ("a name of Windows that leads up", lambda: beside("..\\evil.png"), _slips("..\\evil.png")),
    ("a name with a drive", lambda: beside("C:/evil.png"), _slips("C:/evil.png")),
    ("markup for a name", lambda: beside(f"{MARKUP}.txt"),
     f"{USED}; left out: {MARKUP}.txt: is neither a picture nor a table (CSV, TSV, JSONL)"),
    ("a bomb: 60 MB in 60 kB", lambda: beside("bomb.png", bytes(60_000_000)),
     f"{USED}; left out: bomb.png: it has more than 50 MB"),
    ("a zip in a zip", lambda: beside("more.zip", zipped({"a.png": saved(plain())})),
     f"{USED}; left out: more.zip: is neither a picture nor a table (CSV, TSV, JSONL)"),
    ("a program in a zip", lambda: beside("run.exe", b"MZ"),
     f"{USED}; left out: run.exe: is neither a picture nor a table (CSV, TSV, JSONL)"),
    ("a link to /etc/passwd in a zip, which stays a text",
     lambda: {"a.zip": zipped({"good.png": saved(plain())}, "link.txt")},
     f"{USED}; left out: link.txt: is neither a picture nor a table (CSV, TSV, JSONL)"),
    ("3,000 files in a zip", lambda: {"a.zip": zipped({f"{n}.png": b"" for n in range(3000)})},
     NOTHING.format("a.zip: has 3,000 files, more than 2,000; split it")),
    ("a zip cut in the middle", lambda: {"a.zip": zipped({"a.png": saved(plain())})[:-30]},
     NOTHING.format("a.zip: is no zip that can be read")),
    ("an SVG", lambda: {"a.svg": SVG}, NOTHING.format("a.svg: is neither a picture nor a table (CSV, TSV, JSONL)")),
    ("a table of another encoding", lambda: {"q.csv": "image,question\nä,ö\n".encode("latin-1")},
     NOTHING.format("q.csv: is not UTF-8 text; save it as UTF-8")),
    ("a table that names a file of the server", lambda: table(f"image,question\n{ROW}/etc/passwd,What?\n"),
     _line(3, "field image: there is no picture '/etc/passwd'")),
    ("a table with a question of 100,000 letters", lambda: table(f"image,question\n{ROW}good.png,{'a' * 100_000}\n"),
     _line(3, "field question: The question has 100,000 characters; shorten it to 4,000 at most.")),
    ("a table with an open quote", lambda: table(f'image,question\n{ROW}good.png,"What\n'),
     _line(3, "the table breaks off here (unexpected end of data)")),
    ("JSONL 100,000 brackets deep", lambda: table(
        json.dumps({"image": "good.png", "question": "What?"}) + "\n" + "[" * 100_000, "q.jsonl"),
     _line(2, "it is no JSON", "q.jsonl")),
    ("JSONL with NaN for a picture", lambda: table(
        json.dumps({"image": "good.png", "question": "What?"}) + '\n{"image": NaN, "question": "x"}', "q.jsonl"),
     _line(2, "field image: it is no text", "q.jsonl")),
]  # fmt: skip
CASES = [Case(EDGE, *given) for given in _GIVEN]
FORMULAS = ('=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\uff1d1", "=cmd|' /C calc'!A0")
EXPORT = "Cell of an exported CSV"
CELLS = [Case(EXPORT, f"`{text}` as a question", partial(str, text), f"'{text}") for text in FORMULAS]
