"""The command line: results on standard output, progress on standard error, exit status 2 for bad input."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from resprune.commands import (
    add_answer,
    add_compare,
    add_evaluate,
    add_methods,
    add_models,
    add_serve,
    take_method_options,
)
from resprune.errors import InputError


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, and guesses no option from its beginning: ``--seed`` is none of ``--seeds``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, 2 for bad input, 130 when interrupted.
    """
    parser = _Parser(prog="resprune", description="Keep the visual tokens that matter.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_answer, add_compare, add_evaluate, add_serve, add_models, add_methods):
        add(commands)
    options, left = parser.parse_known_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # an answer may hold what the terminal cannot show
    try:
        if left:
            take_method_options(parser, options, left)
        options.run(options)
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
