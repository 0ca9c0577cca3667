"""A study: the same questions, answered in many ways; what is answered survives a kill."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from resprune.errors import InputError
from resprune.evaluate.accuracy import normalised
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies, Reply
from resprune.settings import Keep, Settings

FULL = "full"
PLAN, ROWS = "study.json", "rows.jsonl"


@dataclass(frozen=True)
class Way:
    """One way to answer a question.

    Attributes:
        name: of the method, as :class:`resprune.settings.Settings` reads it, or :data:`FULL`.
        keep: the budget, ``None`` for :data:`FULL`.
        seed: number of the draw, of methods that draw at random.
        settings: of pruning, ``None`` for :data:`FULL`.
    """

    name: str
    keep: Keep | None = None
    seed: int = 0
    settings: Settings | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others of a study, of types that JSON keeps."""
        return self.name, str(self.keep), self.seed


def ways(names: Sequence[str], budgets: Sequence[Keep], seeds: int) -> list[Way]:
    """All tokens once, then each method at each budget; those that draw at random once a seed.

    Raises:
        InputError: if a method, a budget or the number of seeds is none, or one is given twice.
    """
    if seeds < 1:
        raise InputError(f"The number of seeds is {seeds}; give at least 1.")
    found = [Way(FULL)]
    for name in names:
        for keep in budgets:
            settings = Settings(keep, name)
            for seed in range(seeds if settings.method.draws else 1):
                found.append(Way(name, keep, seed, replace(settings, method=settings.method.drawn(seed))))
    if len({way.key for way in found}) < len(found):
        raise InputError("A method or a budget is given twice; give each once.")
    return found


class Folder:
    """Where the rows of a study are, one line of JSON each.

    Args:
        path: made if it is not there.
        plan: what is asked, how and of whom, of types that JSON knows; another study's folder is refused.
        part: the number of one of several processes, which writes a file of its own; ``None`` writes the common one,
            and takes over into it what such processes have left.

    Raises:
        InputError: if the folder holds another study, or cannot be written.
    """

    def __init__(self, path: Path, plan: dict[str, Any], part: int | None = None) -> None:
        self._common = path / ROWS
        self.rows_file = self._common if part is None else path / f"rows-{part}.jsonl"
        plan = json.loads(json.dumps(plan))
        try:
            path.mkdir(parents=True, exist_ok=True)
            file = path / PLAN
            if file.exists():
                _check_same(path, json.loads(file.read_text(encoding="utf-8")), plan)
            elif any(path.iterdir()):
                raise InputError(f"The folder {str(path)!r} holds other files; give another one, or an empty one.")
            else:
                file.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
            _mend(self.rows_file)
            if part is None:
                self.gathered()
        except OSError as error:
            raise InputError(f"The folder {str(path)!r} cannot be used: {error.strerror}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"The folder {str(path)!r} holds a damaged study; give another one.") from error

    def gathered(self) -> list[dict[str, Any]]:
        """All rows, after those in other processes' files were moved into the common one, each once."""
        for part in sorted(self._common.parent.glob("rows-*.jsonl")):
            _mend(part)
            known = set(map(key_of, _read(self._common)))
            _append(self._common, (row for row in _read(part) if key_of(row) not in known))
            part.unlink()
        return _read(self._common)

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far, but for those in other processes' files."""
        return [row for file in sorted({self._common, self.rows_file}) for row in _read(file)]

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows, and have them on the disk before anything else happens."""
        _append(self.rows_file, rows)


def key_of(row: dict[str, Any]) -> tuple[int, str, str, int]:
    """What tells a row from the others of a study."""
    return row["question"], row["method"], row["keep"], row["seed"]


def in_order(rows: Iterable[dict[str, Any]], tries: Sequence[Way]) -> list[dict[str, Any]]:
    """Rows as one process would have written them, whoever wrote them and when."""
    place = {way.key: i for i, way in enumerate(tries)}
    return sorted(rows, key=lambda row: (row["question"], place[key_of(row)[1:]]))


def _read(file: Path) -> list[dict[str, Any]]:
    # str.splitlines would cut at the rarer line ends too, which an answer may hold.
    lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
    return [json.loads(line) for line in lines if line]


def _append(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _mend(file: Path) -> None:
    """Cut off what a kill left of a line half written."""
    if file.exists():
        text = file.read_bytes()
        if not text.endswith(b"\n"):
            file.write_bytes(text[: text.rfind(b"\n") + 1])


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    other = [name for name in now if before.get(name) != now[name]]
    if other or set(before) - set(now):
        raise InputError(
            f"The folder {str(path)!r} holds another study (other: {', '.join(other) or 'its version'}); give another "
            "folder, or the options of that study."
        )


def run(
    replies: Replies,
    examples: Iterable[Example],
    tries: Sequence[Way],
    folder: Folder,
    progress: Callable[[int], None] = lambda done: None,
    mine: Callable[[Example], bool] = lambda example: True,
    batch: int = 1,
) -> list[dict[str, Any]]:
    """Ask every question in every way, but for what ``folder`` holds already.

    Args:
        replies: of the model that answers.
        examples: the questions, always the same ones in the same order.
        tries: from :func:`ways`.
        folder: where each row goes as soon as it is known.
        progress: called with the number of rows that are there.
        mine: whether a question is to be asked here, where others ask the rest.
        batch: questions that are asked at once.

    Returns:
        All rows: ``question`` (its number), ``scene``, ``kind``, ``method``, ``keep``, ``seed``, ``answer``, ``right``,
        ``kept`` (visual tokens read), ``select_ms`` and ``prefill_ms``.

    Raises:
        InputError: if there is no question.
    """
    rows = folder.rows()
    left = (entry for entry in unasked(examples, tries, rows) if mine(entry[1]))
    for new in answered(left, replies, batch):
        folder.add(new)
        rows += new
        progress(len(rows))
    if not rows:
        raise InputError("The question set holds no question that can be asked.")
    return rows


def unasked(
    examples: Iterable[Example], tries: Sequence[Way], rows: Iterable[dict[str, Any]]
) -> Iterator[tuple[int, Example, list[Way]]]:
    """Each question that ``rows`` do not answer in every way: its number, itself, and the ways that are left."""
    known = set(map(key_of, rows))
    for number, example in enumerate(examples):
        if left := [way for way in tries if (number, *way.key) not in known]:
            yield number, example, left


def answered(
    asked: Iterable[tuple[int, Example, Sequence[Way]]], replies: Replies, batch: int = 1
) -> Iterator[list[dict[str, Any]]]:
    """The rows of questions in the ways that are left, see :func:`run`, as they are answered, ``batch`` at once.

    Each question is asked in all its ways before the next; with a batch, as many questions are asked in one way before
    the next way, since prompts of about one length waste the least.
    """
    for questions in in_pieces(asked, batch):
        entries = [(way, number, example) for number, example, left in questions for way in left]
        if batch > 1:
            places = {way.key: place for place, way in enumerate(way for *_, left in questions for way in left)}
            entries.sort(key=lambda entry: places[entry[0].key])
        for some in in_pieces(entries, batch):
            found = replies.to_all([(example, way.settings) for way, _, example in some])
            yield [_row(*entry, reply) for entry, reply in zip(some, found, strict=True)]


def in_pieces(values: Iterable[Any], length: int) -> Iterator[list[Any]]:
    """Lists of ``length`` values, the last one perhaps shorter."""
    left = iter(values)
    while piece := list(islice(left, length)):
        yield piece


def _row(way: Way, number: int, example: Example, reply: Reply) -> dict[str, Any]:
    name, keep, seed = way.key
    return {
        "question": number,
        "scene": example.scene,
        "kind": example.kind,
        "method": name,
        "keep": keep,
        "seed": seed,
        "answer": reply.text,
        "right": normalised(reply.text) in {normalised(answer) for answer in example.answers},
        **{key: value for key, value in asdict(reply).items() if key != "text"},
    }
