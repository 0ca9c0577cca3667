"""Options that several commands share: which model, and how to prune."""

import argparse
from typing import Any

QUANTIZATIONS = ("8bit", "4bit")


def add_options(command: argparse.ArgumentParser, keep: str, json: bool = True) -> None:
    """Add those of the model and of pruning; ``keep`` is the budget where none is given, ``json`` adds ``--json``."""
    command.add_argument("--model", metavar="ID", default="bundled", help="see the command 'models' (%(default)s)")
    command.add_argument("--quantization", choices=QUANTIZATIONS, help="load the language model in 8 or 4 bits")
    command.add_argument(
        "--keep",
        metavar="K",
        default=keep,
        help=f"tokens: 128, a share: 22%% or 0.22, or auto ({keep.replace('%', '%%')})",
    )
    command.add_argument(
        "--method",
        metavar="NAME",
        default="resprune",
        help="see 'methods' (%(default)s); its options behind its name, as in resprune:alpha=4, or as --alpha 4",
    )
    command.add_argument("--mass", action="store_true", help="let kept tokens carry the weight of those they stand for")
    if json:
        command.add_argument("--json", action="store_true", help="print all figures as JSON")


def settings_of(options: argparse.Namespace) -> Any:
    """The :class:`resprune.settings.Settings` that the options ask for.

    Raises:
        InputError: if one is out of range.
    """
    from resprune.settings import Settings, parse_keep  # what costs time to import comes after the options are read

    return Settings(keep=parse_keep(options.keep), method=options.method, mass=options.mass)


def take_method_options(parser: argparse.ArgumentParser, options: argparse.Namespace, left: list[str]) -> None:
    """Read what a command line has left as options of the method that it names, and write them behind its name.

    Args:
        parser: of the same command line, for its errors.
        options: what it has read; ``method`` becomes such as ``resprune:alpha=4``.
        left: what it has not, such as ``["--alpha", "4"]``.
    """
    from resprune.methods import available

    name = getattr(options, "method", "").partition("+")[0].partition(":")[0]
    if name not in available():
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    own = type(parser)(prog=parser.prog, add_help=False)
    for one in available()[name].options():
        own.add_argument(f"--{one.name}", metavar=one.name.upper(), help=one.meaning)
    values, unknown = own.parse_known_args(left)
    if unknown:
        known = ", ".join(f"--{one.name}" for one in available()[name].options()) or "no options"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; the method {name!r} takes {known}")
    given = {option: value for option, value in vars(values).items() if value is not None}
    method, plus, behind = options.method.partition("+")
    options.method = method + "".join(f":{option}={value}" for option, value in given.items()) + plus + behind


def model_of(options: argparse.Namespace, **how: Any) -> Any:
    """The model and the processor that the options ask for; ``how`` is what else :func:`resprune.models.load` takes.

    Raises:
        InputError: see :func:`resprune.models.load`.
    """
    from resprune.models import load

    return load(options.model, quantization=options.quantization, **how)
