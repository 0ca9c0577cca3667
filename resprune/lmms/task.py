"""A question set of ours as a task of lmms-eval, on this machine, so that the plugin can be tried without a network.

python -m resprune.lmms.task FOLDER --set emoji-test --scenes 5
python -m lmms_eval --include_path FOLDER --tasks emoji_test --model resprune --model_args keep=64 ...
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from resprune.errors import InputError
from resprune.evaluate import Example, normalised

MAX_NEW_TOKENS = 64  # as `python -m resprune evaluate` allows
# lmms-eval reads functions from a file beside the task's; these stand in the package, where they are tested.
_FUNCTIONS = "from resprune.lmms.task import doc_to_text, doc_to_visual, process_results  # noqa: F401\n"


def write(folder: Path, examples: Iterable[Example], name: str) -> None:
    """Write questions, with their pictures, and the task that asks them.

    Args:
        folder: made if it is not there; for ``--include_path``.
        examples: each with its accepted answers.
        name: of the task, for ``--tasks``.

    Raises:
        InputError: if there is no question, or the folder cannot be written.
    """
    from datasets import Dataset, DatasetDict, Features, Image, List, Value

    fields = {"question": Value("string"), "answers": List(Value("string")), "kind": Value("string")}
    rows = [{"image": e.image, "question": e.question, "answers": [*e.answers], "kind": e.kind} for e in examples]
    if not rows:
        raise InputError("The question set holds no question that can be asked.")
    task = {
        "task": name,
        "dataset_path": str((folder / name).resolve()),
        "dataset_kwargs": {"load_from_disk": True},
        "test_split": "test",
        "output_type": "generate_until",
        "generation_kwargs": {"max_new_tokens": MAX_NEW_TOKENS, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "accuracy", "aggregation": "mean", "higher_is_better": True}],
        "metadata": [{"version": 1.0}],
    }
    functions = {"doc_to_visual": "doc_to_visual", "doc_to_text": "doc_to_text", "process_results": "process_results"}
    lines = [f"{key}: !function {name}_functions.{function}\n" for key, function in functions.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data = Dataset.from_list(rows, features=Features({"image": Image()} | fields))
        DatasetDict({"test": data}).save_to_disk(folder / name)
        (folder / f"{name}_functions.py").write_text(_FUNCTIONS, encoding="utf-8")
        text = yaml.safe_dump(task, sort_keys=False) + 'doc_to_target: "answers"\n' + "".join(lines)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"The folder {str(folder)!r} cannot be written ({error.strerror}); name another.") from error


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """The picture of a question."""
    return [doc["image"].convert("RGB")]


def doc_to_text(doc: dict[str, Any], _: dict[str, Any] | None = None) -> str:
    """The question, with nothing added."""
    return doc["question"]


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """1 where the answer is one of the accepted, compared as by ``python -m resprune evaluate``."""
    return {"accuracy": float(normalised(results[0]) in {normalised(answer) for answer in doc["answers"]})}


def main() -> int:
    """The command; returns its exit status."""
    from resprune.evaluate import SETS

    parser = argparse.ArgumentParser(prog="python -m resprune.lmms.task", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for --include_path of lmms-eval")
    parser.add_argument("--set", default="emoji-test", choices=SETS, help="question set (%(default)s)")
    parser.add_argument("--scenes", type=int, default=5, metavar="N", help="pictures of it (%(default)s)")
    options = parser.parse_args()
    name = options.set.replace("-", "_")
    try:
        if options.scenes < 1:
            raise InputError(f"The number of scenes is {options.scenes}; give at least 1.")
        write(options.folder, SETS[options.set](options.scenes), name)
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(f"The task {name} is in {options.folder}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
