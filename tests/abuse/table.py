"""The abuse set as a table: ``make abuse-table`` writes ``docs/abuse.md`` from the very cases that the tests give."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import calls  # noqa: E402
import files  # noqa: E402
import pictures  # noqa: E402
import questions  # noqa: E402
import reports  # noqa: E402
import web  # noqa: E402

CASES = [
    *(*pictures.CASES, *questions.CASES, *calls.CASES, *web.CASES, *files.CASES, *files.CELLS, *reports.CASES),
]
DOCUMENT = HERE.parents[1] / "docs" / "abuse.md"
HEAD = """# What hostile and odd input gets

Each line is a case of `tests/abuse/`, given to the page over HTTP as a program does, with what it must get word for
word; `tests/abuse/test_abuse.py` gives them all, and asks an ordinary question before and after. This page is
written from the cases by `make abuse-table`. There are {count} of them.
"""


def document() -> str:
    """The page as Markdown."""
    parts, edge = [HEAD.format(count=len(CASES))], None
    for case in CASES:
        if case.edge != edge:
            edge = case.edge
            parts.append(f"\n## {edge}\n\n| given | gets |\n|---|---|\n")
        parts.append(f"| {_cell(case.name)} | {_cell(case.gets)} |\n")
    return "".join(parts)


def _cell(text: str) -> str:
    """Text that is text in a table of Markdown."""
    for character in "\\|<>*_[]":
        text = text.replace(character, f"\\{character}")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
