"""The commands ``answer`` and ``compare``: one question about one picture."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from resprune.commands.options import add_options, model_of, settings_of

STAGES = {
    "encode": "encoding the picture",
    "select": "choosing tokens",
    "prefill": "reading the prompt",
    "decode": "answering",
}


def add_answer(commands: Any) -> None:
    """Add the command to a parser's."""
    _add_question(commands, "answer", _answer, "answer a question about a picture, with pruned visual tokens")


def add_compare(commands: Any) -> None:
    """Add the command to a parser's."""
    _add_question(commands, "compare", _compare, "answer it twice, with all visual tokens and with pruned ones")


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
