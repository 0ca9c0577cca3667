"""The commands ``models`` and ``methods``: what can be chosen."""

import argparse
import sys
from collections.abc import Iterable
from typing import Any


def add_models(commands: Any) -> None:
    """Add the command to a parser's."""
    commands.add_parser("models", help="list the models").set_defaults(run=_models)


def add_methods(commands: Any) -> None:
    """Add the command to a parser's."""
    command = commands.add_parser("methods", help="list the methods of pruning, or the options of one")
    command.add_argument("name", metavar="NAME", nargs="?", help="a method, to see its options")
    command.add_argument("--markdown", action="store_true", help="print a table of Markdown, with papers and sources")
    command.set_defaults(run=_methods)


def _models(_: argparse.Namespace) -> None:
    from resprune.models import CATALOGUE

    rows = [("ID", "FAMILY", "PARAMETERS", "BF16", "8 BITS", "4 BITS", "SMALLEST CARD, IN 4 BITS", "LICENCE")]
    for entry in CATALOGUE.values():
        sizes = [_gigabytes(entry.weight_bytes(quantization)) for quantization in (None, "8bit", "4bit")]
        cards = f"{entry.smallest_card()} GB, {entry.smallest_card('4bit')} GB"
        licence = entry.licence + (" (consent needed)" if entry.gated else "")
        rows.append((entry.id, entry.family, f"{entry.parameters:,.0f} M", *sizes, cards, licence))
    _table(rows)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _methods(options: argparse.Namespace) -> None:
    from resprune.methods import available, described, markdown, parse, problems

    for sentence in problems().values():
        print(sentence, file=sys.stderr)
    if options.markdown:
        print(markdown())
    elif options.name in available():
        print(described(available()[options.name]))
    elif options.name:
        parse(options.name)  # which says what is wrong with it
    else:
        _table((name, method.summary()) for name, method in available().items())


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
