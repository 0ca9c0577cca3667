"""The command ``evaluate``."""

import argparse
import json
import sys
from typing import Any

from resprune.errors import InputError


def add_evaluate(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "count how many questions of a set a model answers rightly"
    command = commands.add_parser("evaluate", help=text, description=text.capitalize() + ".")
    command.add_argument("--set", default="emoji-test", metavar="NAME", help="question set (%(default)s)")
    command.add_argument("--scenes", type=int, default=100, metavar="N", help="pictures of it (%(default)s)")
    command.add_argument("--model", metavar="ID", default="bundled", help="see the command 'models' (%(default)s)")
    command.add_argument("--keep", metavar="K", default="100%", help="tokens: 128, or a share: 22%% (100%%)")
    command.add_argument("--method", metavar="NAME", default="resprune", help="see 'methods' (%(default)s)")
    command.add_argument("--json", action="store_true", help="print all figures as JSON")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from resprune.evaluate.accuracy import accuracy
    from resprune.evaluate.sets import SETS
    from resprune.models import load
    from resprune.settings import Settings, parse_keep

    settings = Settings(keep=parse_keep(options.keep), method=options.method)
    if options.set not in SETS:
        raise InputError(f"There is no question set {options.set!r}; choose one of {', '.join(SETS)}.")
    if options.scenes < 1:
        raise InputError(f"The number of scenes is {options.scenes}; give at least 1.")
    model, processor = load(options.model)
    examples = SETS[options.set](options.scenes)
    report = accuracy(model, processor, examples, settings, progress=_progress)
    report = {"set": options.set, "model": options.model, "keep": options.keep, "method": options.method} | report
    print(json.dumps(report) if options.json else _readable(report))


def _progress(done: int) -> None:
    if done % 50 == 0:
        print(f"{done} questions", file=sys.stderr, flush=True)


def _readable(report: dict) -> str:
    def row(name: str, share: dict) -> str:
        low, high = share["interval"]
        return f"{name:14}{share['accuracy']:7.1%}  [{low:.1%}, {high:.1%}]  {share['right']} of {share['questions']}"

    head = f"{report['set']}, {report['model']}, {report['method']}, keep {report['keep']}"
    return "\n".join([head, row("all", report), *(row(kind, share) for kind, share in report["kinds"].items())])
