"""What stands behind --model_args of lmms-eval; the rest of the plugin is tested where lmms-eval is installed."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from resprune.errors import InputError
from resprune.lmms import MODELS
from resprune.lmms.arguments import Arguments
from resprune.settings import Settings

ROOT = Path(__file__).parents[2]


def test_arguments_are_read_as_on_the_command_line() -> None:
    assert Arguments.of("bundled", {}) == Arguments("bundled", Settings())
    given = {"pretrained": "there", "keep": "22%", "method": "resprune:alpha=2", "mass": True, "dtype": "float16"}
    settings = Settings(keep=0.22, method="resprune:alpha=2", mass=True)
    assert Arguments.of("bundled", given) == Arguments("there", settings, dtype=torch.float16)
    for written, keep in ((64, 64), (0.5, 0.5), ("auto", "auto"), ("100%", 1.0)):
        assert Arguments.of("bundled", {"keep": written, "batch_size": "1"}).settings.keep == keep
    assert Arguments.of("bundled", {"quantization": "4bit", "device": "cpu"}).quantization == "4bit"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep": 0}, "give at least 1 token"),
        ({"keep": -5.0}, "give at least 1 token"),
        ({"keep": "many"}, "'many'; give a number of tokens"),
        ({"keep": True}, "'True'; give a number of tokens"),
        ({"method": "best"}, "no method 'best'; choose one of resprune"),
        ({"method": "manual:indices=1"}, "choose another"),
        ({"mass": "yes"}, "mass is 'yes'; give True, False or Mass"),
        ({"alpha": 4}, "write .*method='resprune:alpha=4'"),
        ({"method": "resprune:alpha=high"}, "alpha is 'high'"),
        ({"kepe": 64}, "no 'kepe'; choose among pretrained"),
        ({"quantization": 4}, "no quantization 4; give 8bit, 4bit or none"),
        ({"dtype": "int8"}, "no dtype 'int8'; give bfloat16"),
        ({"batch_size": 8}, "The batch size is 8"),
        ({"batch_size": "auto"}, "The batch size is auto"),
    ],
)
def test_a_wrong_argument_is_named(given: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Arguments.of("bundled", given)


def test_a_model_of_another_family_is_refused_before_it_is_loaded() -> None:
    asked = Arguments.of("bundled", {"pretrained": "Qwen/Qwen2.5-VL-7B-Instruct"})
    with pytest.raises(InputError, match="of the family 'qwen2_5_vl', not 'llava'; take --model resprune"):
        asked.check_family("llava")
    asked.check_family(None)
    asked.check_family("qwen2_5_vl")
    with pytest.raises(InputError, match="of the family 'gemma3'"):
        Arguments.of("bundled", {"pretrained": "folder"}).check_family("llava", "gemma3")


def test_of_several_processes_each_takes_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Arguments.of("bundled", {}).device is None
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert Arguments.of("bundled", {}).device == "cuda:3"
    assert Arguments.of("bundled", {"device": "cpu"}).device == "cpu"


def test_the_library_does_without_lmms_eval() -> None:
    code = "import sys, resprune, resprune.__main__, resprune.lmms.arguments; sys.exit('lmms_eval' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_entry_point_names_a_function_that_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["lmms_eval.models"]["resprune"].split(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))
    assert any(need.startswith("lmms-eval") for need in project["optional-dependencies"]["lmms"])


def test_every_command_of_the_page_is_one() -> None:
    page = (ROOT / "docs" / "lmms-eval.md").read_text(encoding="utf-8")
    commands = re.findall(r"`ask (\w+) (\S+)`", page)
    assert len(commands) == page.count("not yet run |") >= 20
    for model, given in commands:
        assert model in MODELS
        pairs = dict(pair.split("=", 1) for pair in given.split(","))
        read = {name: int(text) if text.isdigit() else text == "True" or text for name, text in pairs.items()}
        Arguments.of("bundled", read)
