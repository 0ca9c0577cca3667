"""The command ``evaluate``."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from resprune.commands.options import add_options, model_of, settings_of
from resprune.errors import InputError


def add_evaluate(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "count how many questions of a set a model answers rightly"
    command = commands.add_parser(
        "evaluate",
        help=text,
        description=f"{text.capitalize()}. With --out, --method and --keep take lists, separated by commas, and every "
        "method is compared at every budget with all tokens and with random; '+mass' behind a method's name lets its "
        "tokens carry mass, and settings may stand between, as in resprune:alpha=0.5:words=all+mass.",
    )
    command.add_argument(
        "--set", default="emoji-test", metavar="NAME", help="question set, or FILE.jsonl (%(default)s)"
    )
    command.add_argument("--scenes", type=int, default=100, metavar="N", help="pictures of it (%(default)s)")
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of random, with --out (%(default)s)")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of a study: its answers; the same command goes on after a kill"
    )
    command.add_argument("--batch", type=int, default=1, metavar="N", help="questions asked at once (%(default)s)")
    command.add_argument("--ray", metavar="ADDRESS", help="share a study among workers of a Ray cluster, or 'local'")
    command.add_argument("--workers", type=int, metavar="N", help="of --ray, each with a model of its own (2)")
    add_options(command, keep="100%")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if options.scenes < 1:
        raise InputError(f"The number of scenes is {options.scenes}; give at least 1.")
    if options.batch < 1:
        raise InputError(f"The number of questions at once is {options.batch}; give at least 1.")
    examples, report, readable = _examples(options), _accuracy, _readable
    if options.out:
        report, readable = _study, _readable_study
    elif "," in options.method + options.keep:
        raise InputError("Several methods or budgets make a study; give it a folder with --out DIR.")
    elif options.ray or _launched_with_others():
        raise InputError("Several processes share a study only; give it a folder with --out DIR.")
    if options.workers is not None and not options.ray:
        raise InputError("The option --workers belongs to --ray; give --ray ADDRESS or --ray local as well.")
    said = report(options, examples)
    if said is None:  # another process reports
        return
    for line in said["skipped"]:
        print(line, file=sys.stderr)
    print(json.dumps(said) if options.json else readable(said))


def _examples(options: argparse.Namespace) -> Any:
    from resprune.evaluate import SETS, QuestionFile

    return SETS[options.set](options.scenes) if options.set in SETS else QuestionFile(Path(options.set))


def _accuracy(options: argparse.Namespace, examples: Any) -> dict[str, Any]:
    from resprune.evaluate import accuracy

    settings = settings_of(options)
    model, processor = model_of(options)
    report = accuracy(model, processor, examples, settings, batch=options.batch, progress=_progress)
    asked = {name: getattr(options, name) for name in ("set", "model", "quantization", "keep", "method", "mass")}
    return asked | report | {"skipped": getattr(examples, "skipped", [])}


def _study(options: argparse.Namespace, examples: Any) -> dict[str, Any] | None:
    from resprune.evaluate import compared, in_order, ways
    from resprune.settings import parse_keep

    names = [name.strip() for name in options.method.split(",")]
    if options.mass:
        names = [name if "+mass" in name else f"{name}+mass" for name in names]
    tries = ways(names, [parse_keep(text) for text in options.keep.split(",")], options.seeds)
    questions = list(examples)
    asked = {name: getattr(options, name) for name in ("set", "scenes", "model", "quantization", "seeds")}
    asked |= {"methods": names, "keep": options.keep.replace(" ", "").split(",")}
    with _crew(options) as crew:
        plan = asked | {"weights": crew.weights}
        folder = crew.folder(options.out, plan)
        with _bar(len(questions) * len(tries), len(folder.rows())) as progress:
            rows = crew.run(questions, tries, folder, progress)
    if not crew.reports:
        return None
    report = plan | compared(in_order(rows, tries)) | {"skipped": getattr(examples, "skipped", [])}
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


@contextmanager
def _crew(options: argparse.Namespace) -> Iterator[Any]:
    """Who answers a study's questions: this process, those that a launcher started, or workers of Ray."""
    if options.ray:
        from resprune.evaluate import ray_crew

        workers = 2 if options.workers is None else options.workers
        with ray_crew(options.ray, workers, options.model, options.quantization, options.batch) as crew:
            yield crew
    else:
        from resprune.evaluate import Ranks

        yield Ranks(partial(model_of, options), options.batch)


def _launched_with_others() -> bool:
    from resprune.evaluate import launched

    return launched()[1] > 1


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, with the time left; to be called with the number of rows that are there."""
    from huggingface_hub.utils import tqdm

    with tqdm(total=total, initial=done, unit=" answers", file=sys.stderr) as bar:
        yield lambda now: bar.update(now - bar.n)


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


def _readable_study(report: dict) -> str:
    full = report["full"]
    head = (
        f"{report['set']}, {report['model']}, {full['questions']} questions; all tokens: {full['accuracy']:.1%} right"
    )
    lines = [head, f"{'method':16}{'keep':>6}  {'relative to all':24}{'agreement':>9}  over random, 95 % interval, p"]
    for result in report["results"]:
        low, high = result["relative_interval"]
        over = result.get("over_random")
        said = ""
        if over:
            least, most = over["interval"]
            said = f"{over['difference']:+.1%} [{least:+.1%}, {most:+.1%}], {over['p']:.3f}"
        spread = f"{result['relative']:.1%} [{low:.1%}, {high:.1%}]"
        lines.append(f"{result['method']:16}{result['keep']:>6}  {spread:24}{result['agreement']:>9.1%}  {said}")
    return "\n".join(lines)
