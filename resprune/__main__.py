"""The command line: results on standard output, progress on standard error, exit status 2 for bad input."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from resprune.errors import InputError
from resprune.evaluate.command import add_evaluate
from resprune.options import add_options, model_of, settings_of
from resprune.serve.command import add_serve

STAGES = {
    "encode": "encoding the picture",
    "select": "choosing tokens",
    "prefill": "reading the prompt",
    "decode": "answering",
}


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, 2 for bad input, 130 when interrupted.
    """
    parser = _Parser(prog="resprune", description="Keep the visual tokens that matter.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_answer, _add_compare, add_evaluate, add_serve, _add_models, _add_methods):
        add(commands)
    options = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # an answer may hold what the terminal cannot show
    try:
        options.run(options)
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _add_answer(commands: Any) -> None:
    _add_question(commands, "answer", _answer, "answer a question about a picture, with pruned visual tokens")


def _add_compare(commands: Any) -> None:
    _add_question(commands, "compare", _compare, "answer it twice, with all visual tokens and with pruned ones")


def _add_models(commands: Any) -> None:
    commands.add_parser("models", help="list the models").set_defaults(run=_models)


def _add_methods(commands: Any) -> None:
    commands.add_parser("methods", help="list the methods of pruning").set_defaults(run=_methods)


def _add_question(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> None:
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.add_argument("image", metavar="IMAGE", help="file of a picture")
    command.add_argument("question", metavar="QUESTION")
    add_options(command, keep="128")
    command.set_defaults(run=run)


def _answer(options: argparse.Namespace) -> None:
    from resprune.compare import answer

    answers = _asked(options, answer)
    print(json.dumps(answers["pruned"].as_dict()) if options.json else _readable(answers["pruned"]))


def _compare(options: argparse.Namespace) -> None:
    from resprune.compare import compare

    answers = _asked(options, compare)
    full, pruned = answers["full"], answers["pruned"]
    same = full.answer == pruned.answer
    if options.json:
        print(json.dumps({"full": full.as_dict(), "pruned": pruned.as_dict(), "same_answer": same}))
    else:
        print(_readable(full), _readable(pruned), f"The answers are {'the same' if same else 'different'}.", sep="\n\n")


def _models(_: argparse.Namespace) -> None:
    from resprune.catalogue import CATALOGUE

    rows = [("ID", "FAMILY", "PARAMETERS", "BF16", "8 BITS", "4 BITS", "SMALLEST CARD, IN 4 BITS", "LICENCE")]
    for entry in CATALOGUE.values():
        sizes = [_gigabytes(entry.weight_bytes(quantization)) for quantization in (None, "8bit", "4bit")]
        cards = f"{entry.smallest_card()} GB, {entry.smallest_card('4bit')} GB"
        licence = entry.licence + (" (consent needed)" if entry.gated else "")
        rows.append((entry.id, entry.family, f"{entry.parameters:,.0f} M", *sizes, cards, licence))
    _table(rows)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _methods(_: argparse.Namespace) -> None:
    from resprune.methods import METHODS

    _table((name, method.summary) for name, method in METHODS.items())


def _asked(options: argparse.Namespace, ask: Callable) -> dict[str, Any]:
    """The answer of each side. What costs nothing to check is checked before the model is loaded."""
    from resprune.images import checked_question, open_image

    settings = settings_of(options)
    question, image = checked_question(options.question), open_image(options.image)
    _progress(f"loading {options.model}")
    model, processor = model_of(options)
    answers, shown = {}, None
    for update in ask(model, processor, image, question, settings):
        if (update.side, update.stage) != shown and update.stage in STAGES:
            shown = update.side, update.stage
            _progress(f"{update.side}: {STAGES[update.stage]}")
        if update.answer:
            answers[update.side] = update.answer
    return answers


def _progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _readable(answer: Any) -> str:
    """An answer for people: the text, and what it cost."""
    stages = {"encode": answer.encode_ms, "select": answer.select_ms, "prefill": answer.prefill_ms}
    times = stages | {"TTFT": answer.ttft_ms, "TPOT": answer.tpot_ms, "total": answer.total_ms}
    method = answer.method + (" with mass" if answer.mass else "")
    peak = "unknown" if answer.peak_bytes is None else f"{answer.peak_bytes / 1e6:.1f} MB"
    return "\n".join(
        [
            answer.answer,
            f"  {method}: {answer.tokens_kept} of {answer.tokens_total} visual tokens",
            "  " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items() if ms is not None),
            f"  KV cache {answer.kv_bytes / 1e6:.2f} MB, peak memory {peak}",
            *(f"  {note}" for note in answer.notes),
        ]
    )


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
