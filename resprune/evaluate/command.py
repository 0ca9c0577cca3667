"""The command ``evaluate``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from resprune.errors import InputError
from resprune.options import add_options, model_of, settings_of


def add_evaluate(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "count how many questions of a set a model answers rightly"
    command = commands.add_parser("evaluate", help=text, description=text.capitalize() + ".")
    command.add_argument(
        "--set", default="emoji-test", metavar="NAME", help="question set, or FILE.jsonl (%(default)s)"
    )
    command.add_argument("--scenes", type=int, default=100, metavar="N", help="pictures of it (%(default)s)")
    add_options(command, keep="100%")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from resprune.evaluate.accuracy import accuracy
    from resprune.evaluate.sets import SETS, QuestionFile

    settings = settings_of(options)
    if options.scenes < 1:
        raise InputError(f"The number of scenes is {options.scenes}; give at least 1.")
    examples = SETS[options.set](options.scenes) if options.set in SETS else QuestionFile(Path(options.set))
    model, processor = model_of(options)
    report = accuracy(model, processor, examples, settings, progress=_progress)
    asked = {name: getattr(options, name) for name in ("set", "model", "quantization", "keep", "method", "mass")}
    report = asked | report | {"skipped": getattr(examples, "skipped", [])}
    for line in report["skipped"]:
        print(line, file=sys.stderr)
    print(json.dumps(report) if options.json else _readable(report))


def _progress(done: int) -> None:
    if done % 50 == 0:
        print(f"{done} questions", file=sys.stderr, flush=True)


def _readable(report: dict) -> str:
    def row(name: str, share: dict) -> str:
        low, high = share["interval"]
        return f"{name:14}{share['accuracy']:7.1%}  [{low:.1%}, {high:.1%}]  {share['right']} of {share['questions']}"

    method = report["method"] + (" with mass" if report["mass"] else "")
    head = f"{report['set']}, {report['model']}, {method}, keep {report['keep']}"
    return "\n".join([head, row("all", report), *(row(kind, share) for kind, share in report["kinds"].items())])
