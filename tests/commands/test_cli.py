"""The command line: results on standard output, progress on standard error, one line and status 2 for bad input."""

import json
import os
import subprocess
import sys

import pytest
import torch
from comparing import KEYS
from tiny import picture, tiny_llava

from resprune.__main__ import main
from resprune.methods import ResPrune, built_in
from resprune.models.catalogue import CATALOGUE
from resprune.models.hub import assets_dir

QUESTION = "What animal is in the picture?"


def run(*arguments: str) -> subprocess.CompletedProcess:
    """The command in a process of its own, as a user would start it."""
    command = [sys.executable, "-m", "resprune", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a small checkpoint."""
    folder = tmp_path_factory.mktemp("model")
    for part in tiny_llava(grid=6):
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A file with a picture."""
    file = tmp_path_factory.mktemp("pictures") / "picture.png"
    picture().save(file)
    return str(file)


@pytest.fixture
def ask(model, image, capsys):
    """Run the command here; its status, output and errors."""

    def ask(command="answer", *options, image=image, question=QUESTION, model=model):
        threads = torch.get_num_threads()
        try:
            status = main([command, image, question, "--model", model, *options])
        except SystemExit as end:
            status = end.code
        torch.set_num_threads(threads)
        return status, *capsys.readouterr()

    return ask


def test_compare_prints_what_was_promised_with_the_bundled_model():
    example = sorted((assets_dir() / "examples").glob("*.png"))[0]
    done = run("compare", str(example), QUESTION, "--keep", "128", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == ["full", "pruned", "same_answer"]
    assert list(result["full"]) == list(result["pruned"]) == KEYS
    assert [result[side]["tokens_kept"] for side in ("full", "pruned")] == [576, 128]
    assert result["full"]["model"] == "bundled" and result["pruned"]["nouns"] == ["animal", "picture"]
    assert result["same_answer"] == (result["full"]["answer"] == result["pruned"]["answer"])
    assert result["full"]["kv_bytes"] > 2 * result["pruned"]["kv_bytes"]
    assert "choosing tokens" in done.stderr


def test_answer_prints_one_side(model, image):
    done = run("answer", image, QUESTION, "--model", model, "--keep", "25%", "--method", "uniform", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == KEYS
    assert (result["method"], result["tokens_kept"], result["model"]) == ("uniform", 9, model)


def test_bad_input_is_one_line_and_status_2(model, image):
    done = run("compare", image, QUESTION, "--model", model, "--keep", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "resprune: The budget is 0; give at least 1 token, or a share above 0.\n"


@pytest.mark.parametrize(
    ("keep", "kept"), [("9", 9), ("25%", 9), ("0.25", 9), ("100%", 36), ("1.0", 36), ("36", 36), ("1000", 36)]
)
def test_budgets_as_people_write_them(ask, keep, kept):
    status, output, _ = ask("answer", "--keep", keep, "--json")
    result = json.loads(output)
    assert (status, result["tokens_kept"], result["tokens_total"]) == (0, kept, 36)
    assert any("all are kept" in note for note in result["notes"]) == (keep == "1000")


def test_options_of_a_method_are_those_that_it_declares(ask):
    settings = []

    def asked(model, processor, image, question, given):
        settings.append(given)
        yield from ()

    for words in (["--alpha", "4", "--words", "all"], ["--method", "resprune:alpha=4", "--words=all"]):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyError):  # nobody answers
            patch.setattr("resprune.compare.answer", asked)
            ask("answer", *words)
    assert [one.method for one in settings] == [ResPrune(alpha=4, words="all")] * 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--alpha", "4", "--method", "divprune"), "--alpha 4; the method 'divprune' takes no options"),
        (("--seed", "4"), "--seed 4; the method 'resprune' takes --words, --pooling, --alpha"),
        (("--alpha", "-4"), "alpha is -4.0; give a number of 0 or more"),
        (("--words", "verbs"), "words is 'verbs'; give 'nouns' or 'all'"),
        (("--keep", "-5"), "at least 1 token"),
        (("--keep=-5%",), "above 0"),
        (("--keep", "0%"), "above 0"),
        (("--keep", "101%"), "at most 100%"),
        (("--keep", "1.5"), "at most 100%"),
        (("--keep", "nan"), "'nan'; give a number"),
        (("--keep", "inf"), "give a number"),
        (("--keep", "abc"), "'abc'; give a number"),
        (("--keep", ""), "give a number"),
        (("--method", "best"), "no method 'best'; choose one of resprune"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
@pytest.mark.parametrize("command", ["answer", "compare"])
def test_bad_options_are_refused(ask, command, options, says):
    status, output, errors = ask(command, *options)
    assert (status, output) == (2, "")
    assert says in errors and errors.count("\n") == 1 and "Traceback" not in errors


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "no/such-model"}, "no model 'no/such-model'; choose one of bundled"),
        ({"image": "/no/such.png"}, "no file '/no/such.png'"),
        ({"image": __file__}, "no picture that can be read"),
        ({"question": ""}, "question is empty"),
        ({"question": "x" * 100_000}, "100,000 characters"),
    ],
)
def test_bad_input_is_refused(ask, changes, says):
    status, output, errors = ask("compare", **changes)
    lines = [line for line in errors.splitlines() if not line.startswith("loading")]
    assert (status, output) == (2, "")
    assert len(lines) == 1 and says in lines[0]


def test_nothing_is_loaded_for_what_can_be_refused_before(ask):
    for changes in ({"question": " "}, {"image": "/no/such.png"}):
        assert "loading" not in ask("compare", **changes)[2]
    assert "loading" not in ask("compare", "--keep", "0")[2]


def test_for_people_the_answer_comes_first(ask):
    _, output, _ = ask("answer", "--keep", "9", "--json")
    answer = json.loads(output)["answer"]
    status, output, errors = ask("answer", "--keep", "9")
    assert status == 0 and output.startswith(answer + "\n  resprune: 9 of 36 visual tokens\n")
    assert "prefill" in output and "KV cache" in output
    assert "loading" in errors and "pruned: answering" in errors
    status, output, _ = ask("compare", "--keep", "9")
    assert "full: 36 of 36 visual tokens" in output and "resprune: 9 of 36 visual tokens" in output
    assert output.endswith("The answers are different.\n")
    assert ask("compare", "--keep", "100%")[1].endswith("The answers are the same.\n")


@pytest.mark.parametrize(("command", "names"), [("models", ["ID", *CATALOGUE]), ("methods", built_in())])
def test_lists(command, names, capsys):
    assert main([command]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(names)


def test_mass_is_told(ask):
    for options, mass in (((), False), (("--mass",), True)):
        status, output, _ = ask("compare", "--keep", "9", "--json", *options)
        result = json.loads(output)
        assert (status, result["full"]["mass"], result["pruned"]["mass"]) == (0, False, mass)
        assert ("resprune with mass: 9 of 36" in ask("compare", "--keep", "9", *options)[1]) == mass


def test_models_tell_what_they_need(capsys):
    main(["models"])
    llava = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("llava-hf/llava-1.5-7b-hf"))
    assert llava.split()[1:12] == ["llava", "7,063", "M", "14.1", "GB", "7.7", "GB", "4.5", "GB", "24", "GB,"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["answer"], ["answer", "picture.png"]])
def test_a_command_that_is_none_is_refused_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output, errors = capsys.readouterr()
    assert (end.value.code, output, errors.count("\n")) == (2, "", 1)


def test_an_interrupt_ends_quietly(ask, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("resprune.models.load", interrupt)
    status, output, errors = ask()
    assert (status, output) == (130, "") and "Traceback" not in errors
