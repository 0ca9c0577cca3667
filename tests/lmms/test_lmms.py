"""The plugin inside lmms-eval's own runner; ``make lmms-check`` installs that in an environment of its own."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
import zoo
from PIL import Image, ImageFile
from tiny import picture

from resprune.errors import InputError
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies
from resprune.evaluate.sets import emoji_test
from resprune.models.loading import load
from resprune.question.prompt import question_of
from resprune.settings import Settings

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed; make lmms-check runs this")

from lmms_eval.api.instance import Instance
from lmms_eval.models import MODEL_REGISTRY_V2, get_model
from lmms_eval.tasks import TaskManager

from resprune.lmms import MODELS
from resprune.lmms.model import Pruned
from resprune.lmms.task import write

ImageFile.LOAD_TRUNCATED_IMAGES = False  # lmms-eval sets it, for all tests of this process
KEEP = 24
EXAMPLES = list(islice(emoji_test(2), 16))
# Ends the process as a kill does, at one question, until a file says that it is over.
KILLED = """
import os, pathlib
from resprune.lmms.task import doc_to_text, process_results
from resprune.lmms.task import doc_to_visual as visual

def doc_to_visual(doc):
    if doc["question"] == {question!r} and not pathlib.Path({file!r}).exists():
        os._exit(9)
    return visual(doc)
"""


def lmms_eval(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The runner in a process of its own, as a user would start it."""
    command = [sys.executable, "-m", "lmms_eval", "--include_path", str(folder), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hf"), "LMMS_CACHE_RUN_ID": "ours"}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=400)


def replies(**settings) -> list[str]:
    ask = Replies(*load("bundled", dtype=torch.float32))
    return [ask.to(example, Settings(**settings)).text.strip() for example in EXAMPLES]


def asked(model, context: str, visuals: list, **options) -> str:
    """One answer, as lmms-eval asks for it."""
    model.task_dict = {"task": {"test": [None]}}
    arguments = (context, options, lambda doc: visuals, 0, "task", "test")
    request = Instance("generate_until", arguments, 0, {"task": "task", "doc_id": 0, "repeats": 1})
    return next(iter(model.generate_until([request]))).text


@pytest.fixture(scope="module")
def model():
    return get_model("resprune_llava")(pretrained="bundled", keep=KEEP, dtype="float32", batch_size=1)


def test_every_name_leads_to_a_model() -> None:
    for name, kind in MODELS.items():
        assert get_model(name).__name__ == kind
        assert MODEL_REGISTRY_V2.resolve(name).model_type == "simple"


def test_the_pages_tasks_are_there() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lmms-eval.md").read_text(encoding="utf-8")
    tasks = page.split("--tasks gqa", 1)[1].split(maxsplit=1)[0].strip(",").split(",")
    assert len(tasks) == 5 and {"gqa", *tasks, "mmbench_en_dev", "vqav2_val"} <= set(TaskManager().all_tasks)


def test_a_killed_run_goes_on_and_answers_as_we_do(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLES, "ours")
    mended = tmp_path / "mended"
    killed = KILLED.format(question=EXAMPLES[6].question, file=str(mended))
    (tmp_path / "ours_functions.py").write_text(killed)
    out, cache = tmp_path / "out", tmp_path / "cache"
    run = [
        *("--tasks", "ours", "--model", "resprune_llava", "--output_path", str(out), "--log_samples"),
        *("--model_args", f"pretrained=bundled,keep={KEEP},dtype=float32", "--use_cache", str(cache)),
    ]
    first = lmms_eval(tmp_path, *run)
    assert first.returncode == 9 and not list(out.rglob("*results.json"))
    mended.touch()
    second = lmms_eval(tmp_path, *run)
    assert second.returncode == 0, second.stderr
    assert f"6/{len(EXAMPLES)} cache hits" in second.stdout

    samples = [json.loads(line) for line in next(out.rglob("*samples_ours.jsonl")).read_text().splitlines()]
    answers = [sample["filtered_resps"] for sample in samples]
    assert answers == replies(keep=KEEP)
    assert answers != replies(keep=1.0), "nothing was pruned, or it changed no answer"
    results = json.loads(next(out.rglob("*results.json")).read_text())
    right = [sample["accuracy"] for sample in samples]
    assert results["results"]["ours"]["accuracy,none"] == pytest.approx(sum(right) / len(right))
    assert results["throughput"]["avg_visual_tokens"] == 576
    assert results["throughput"]["avg_visual_tokens_kept"] == KEEP


def test_bad_input_is_said_and_nothing_is_asked(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLES[:1], "ours")
    out = ("--output_path", str(tmp_path / "out"))
    for task, given, said in (
        ("theirs", "keep=8", "Tasks not found: theirs"),
        ("ours", "method=best", "There is no method 'best'; choose one of resprune"),
    ):
        run = lmms_eval(tmp_path, "--tasks", task, "--model", "resprune", "--model_args", given, *out)
        assert said in run.stdout.splitlines()[-1]
        assert not list(tmp_path.rglob("*results.json"))


def test_a_model_of_another_family_is_refused() -> None:
    with pytest.raises(InputError, match="of the family 'llava', not 'qwen2_5_vl'"):
        get_model("resprune_qwen2_5_vl")(pretrained="bundled")


def test_options_of_a_task(model) -> None:
    example = EXAMPLES[0]
    answer = asked(model, example.question, [example.image], max_new_tokens=64)
    assert answer and asked(model, example.question, [example.image], until=[answer[1:]]) == answer[0]
    assert len(asked(model, example.question, [example.image], max_new_tokens=1)) < len(answer)
    drawn = {asked(model, example.question, [example.image], temperature=50.0, max_new_tokens=8) for _ in range(3)}
    assert len(drawn) > 1


def test_questions_without_a_picture_and_with_several(model) -> None:
    assert asked(model, "Is there a dog in the picture?", [], max_new_tokens=8)
    assert model._spent["total"] == 0
    asked(model, "Is there a dog in the picture?", [picture(seed) for seed in (1, 2)], max_new_tokens=4)
    assert (model._spent["total"], model._spent["kept"]) == (2 * 576, 2 * KEEP)


def test_lines_of_a_question_are_no_special_tokens() -> None:
    """Gemma has an added token for a line break."""
    model = object.__new__(Pruned)
    model._processor = zoo.tiny("gemma3")[1]
    pictures = [picture(seed) for seed in (1, 2)]
    inputs = model._inputs("Is there a dog?\nAnswer yes or no.", pictures)
    assert len(inputs["pixel_values"]) == 2
    assert question_of(model._processor, inputs["input_ids"][0]) == "Is there a dog? Answer yes or no."
    with pytest.raises(InputError, match="2 pictures and a special token"):
        model._inputs("Is there a <start_of_image>?", pictures)


@pytest.mark.parametrize(
    ("visuals", "context", "said"),
    [
        (["film.mp4"], "What happens?", "only pictures are pruned"),
        ([], "<image> What is it?", "a special token"),
        ([Image.new("RGB", (2000, 2))], "What is it?", "longer than 200 to 1"),
        ([Image.new("RGB", (20, 20))], "  ", "The question is empty"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named(model, visuals: list, context: str, said: str) -> None:
    with pytest.raises(InputError, match=f"Question 0 of the task 'task' cannot be asked.*{said}"):
        asked(model, context, visuals)


def test_what_the_model_does_not_do_is_refused(model) -> None:
    request = Instance("loglikelihood", (), 0, {"task": "ppl", "doc_id": 0, "repeats": 1})
    for ask in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(InputError, match=r"The task 'ppl' asks .* choose a task whose output_type"):
            ask([request])


def test_a_task_needs_questions_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no question"):
        write(tmp_path, [], "ours")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name another"):
        write(tmp_path / "file", EXAMPLES[:1], "ours")
    assert isinstance(EXAMPLES[0], Example)
