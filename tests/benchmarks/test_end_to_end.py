"""The end-to-end benchmark at a size that takes seconds: every part runs, and what does not is told."""

import json
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from transformers import AutoTokenizer

from benchmarks import calls, choices, compiled, end_to_end, selection, true_size
from benchmarks.calls import Clock, Variant
from benchmarks.deadline import Deadline
from resprune.models import assets_dir
from resprune.models.catalogue import CATALOGUE

CPU = torch.device("cpu")
CLIP = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
TEXT = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
SMALL = {"LLaVA-1.5-7B": CLIP, "LLaVA-NeXT-7B": CLIP, "Qwen2.5-VL-7B": TOWER}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models' pictures and processors as they are, with hardly any width."""
    for name, vision in SMALL.items():
        sizes = true_size.MODELS[name]
        text = {**sizes.text, **TEXT, **(ROPE if "rope_parameters" in sizes.text else {})}
        monkeypatch.setitem(true_size.MODELS, name, replace(sizes, vision={**sizes.vision, **vision}, text=text))
    monkeypatch.setattr(choices, "CASES", ((24, 8, 6),))
    monkeypatch.setattr(end_to_end, "default_dtype", lambda device: torch.float32)


def asked(monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> dict[str, Any]:
    monkeypatch.setattr("sys.argv", ["end_to_end", "--layers", "1", "--out", str(out), *options])
    end_to_end.main()
    return json.loads(out.read_text())


def test_each_model_is_asked_in_each_way(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compiled, "measure", lambda way, *_: {"all": {"error": f"{way} does not work"}})
    report = asked(monkeypatch, tmp_path / "out.json", "--rounds", "1", "--batch", "2", "--tokens", "2")
    said = capsys.readouterr().out
    assert report["processor"] and report["torch"] and report["commit"] and not report["skipped"]
    assert [cell["tokens"] for cell in report["models"]] == [576, 2880, 1296]
    for cell in report["models"]:
        sizes = true_size.MODELS[cell["model"]]
        assert (cell["layers"], cell["batch"], len(cell["encode"])) == (1, 2, 1)
        assert cell["true_layers"] == sizes.text_layers > 1
        full, *others = cell["variants"].values()
        budgets = [int(keep * cell["tokens"]) if keep < 1 else keep for keep in sizes.budgets]
        assert [row["kept"] for row in others] == pytest.approx([k for k in budgets for _ in range(2)], abs=1)
        assert full["kept"] == cell["tokens"] and "select" not in full
        for row in cell["variants"].values():
            assert all(len(row[what]) == 1 and row[what][0] > 0 for what in ("ttft", "prefill", "tpot"))
            assert row["waits"] is None and row["peak_bytes"] >= 0
            gone = cell["tokens"] - row["kept"]
            per_token = 2 * 2 * 1 * 2 * 16 * 4  # rows, keys and values, layers, heads, their size, float32
            assert full["kv_bytes"] - row["kv_bytes"] == gone * per_token
        assert all(row["select"][0] > 0 for row in others)
        assert f"{cell['model']}, batch of 2: {cell['tokens']} visual tokens" in said
    assert "torch.compile does not work" in said and "| 24 x 8, 6 |" in said


def test_what_time_does_not_suffice_for_is_named(small, tmp_path, monkeypatch, capsys):
    report = asked(monkeypatch, tmp_path / "out.json", "--minutes", "0", "--batch", "1", "8", "--rounds", "1")
    assert not report["models"] and not report["compiled"] and report["choices"]
    every = [f"{name}, batch {batch}" for name in SMALL for batch in (1, 8)]
    assert list(report["skipped"]) == [*every, "LLaVA-1.5-7B, compiled"]
    assert "Qwen2.5-VL-7B, batch 8 (0 s were left" in capsys.readouterr().out


def test_what_fails_is_named_and_the_rest_is_measured(small, tmp_path, monkeypatch, capsys):
    def failing(model: Any, processor: Any, sizes: Any, batch: int, *_: Any) -> dict[str, Any]:
        if batch == 1:
            raise torch.OutOfMemoryError("too much\nand more")
        return {"prompt": 1, "encode": [1.0], "variants": {"full": {"kept": 1, "ttft": [1.0]}}}

    monkeypatch.setattr(end_to_end, "cell", failing)
    monkeypatch.setattr(compiled, "measure", lambda *_: {})
    options = ("--layers", "1", "--out", str(tmp_path / "out.json"), "--models", "LLaVA-1.5-7B", "--batch", "1", "2")
    monkeypatch.setattr("sys.argv", ["end_to_end", *options])
    assert end_to_end.main() == 1
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["failed"] == {"LLaVA-1.5-7B, batch 1": "OutOfMemoryError: too much"}
    assert [cell["batch"] for cell in report["models"]] == [2]
    assert "Failed: LLaVA-1.5-7B, batch 1 (OutOfMemoryError: too much)." in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [("--tokens", "1"), ("--models", "GPT")])
def test_bad_options_are_refused(wrong, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["end_to_end", *wrong])
    with pytest.raises(SystemExit) as stopped:
        end_to_end.main()
    assert stopped.value.code == 2 and wrong[0] in capsys.readouterr().err


def test_a_decoder_that_does_not_compile_is_a_row(small, monkeypatch):
    sizes = true_size.MODELS["LLaVA-1.5-7B"].shallow(1)
    model, processor = true_size.build(sizes, CPU, torch.float32)
    inputs = true_size.ask_about(sizes, processor, 1, CPU, torch.float32)
    monkeypatch.setattr(compiled, "TOKENS", 2)
    seen = []

    def backend(graph: torch.fx.GraphModule, _: list) -> Any:
        seen.append(graph)
        return graph.forward

    plain_compile = model.get_decoder().compile
    monkeypatch.setattr(model.get_decoder(), "compile", lambda **more: plain_compile(**more, backend=backend))
    plain_generate = type(model).generate

    def generate(self: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[1] < 300:
            raise RuntimeError("not so short\nand more")
        return plain_generate(self, **kwargs)

    monkeypatch.setattr(type(model), "generate", generate)
    arguments = ([Variant(), Variant(64)], 2, Clock(CPU), Deadline.after(9))
    rows = compiled.measure("torch.compile", model, processor, inputs, *arguments)
    assert seen and len(rows["full"]["ttft"]) == len(rows["full"]["tpot"]) == 2
    assert rows["64"] == {"error": "RuntimeError: not so short"}
    assert model.get_decoder()._compiled_call_impl is None
    assert "skipped" in compiled.measure("static cache", model, processor, inputs, *arguments)["all"]


def test_waits_are_those_before_the_decoder(monkeypatch):
    """What PyTorch tells on CUDA is told here by the model itself."""
    decoder, modes = torch.nn.Identity(), []
    monkeypatch.setattr(calls, "device_of", lambda model: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def generate(**_: Any) -> None:
        for text in ("called a synchronizing CUDA operation", "another synchronizing thing"):
            for _ in range(2):
                warnings.warn(text, stacklevel=1)
        decoder(1)
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        decoder(1)

    found = calls.waits(SimpleNamespace(generate=generate, get_decoder=lambda: decoder), {})
    assert list(found.values()) == [2] and next(iter(found)).startswith("test_end_to_end.py:")
    assert modes == ["warn", 0] and not decoder._forward_pre_hooks


@pytest.mark.parametrize("name", ["cdpruner", "divprune"])
def test_loops_without_waits_choose_as_those_with(name):
    features = choices.features_of(90, 24, CPU, torch.float32)
    relevance = torch.rand(90, generator=torch.Generator().manual_seed(3)).clamp_min(1e-6)
    chosen = choices.METHODS[name](features, relevance, 20)
    assert torch.equal(chosen, getattr(selection, name)(features, relevance, 20))


@pytest.mark.parametrize("name", ["cdpruner", "divprune"])
def test_loops_do_not_wait_for_a_card(name):
    """A tensor without values cannot be read on the host: what waits for one fails."""
    with FakeTensorMode():
        features, relevance = torch.empty(24, 8, device="cuda"), torch.empty(24, device="cuda")
        chosen = choices.METHODS[name](features, relevance, 6)
        assert chosen.shape == (6,) and chosen.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            int(chosen[0])


def test_steps_are_told_apart_from_the_prefill():
    decoder, ticks = torch.nn.Identity(), iter(range(0, 1000, 10))
    with calls._Steps(decoder, lambda: float(next(ticks))) as steps:
        for _ in range(3):
            decoder(1)
    assert steps.began == [0, 20, 30] and steps.first_ended == 10
    assert not decoder._forward_hooks and not decoder._forward_pre_hooks


def test_no_more_layers_than_memory_allows(monkeypatch):
    monkeypatch.setattr(end_to_end, "free_bytes", lambda device: 10e9)
    sizes = true_size.MODELS["LLaVA-1.5-7B"]
    assert end_to_end.layers_that_fit(sizes, CPU, torch.bfloat16, None) == int(0.7 * 10e9 / (2 * 202.4e6)) == 17
    assert end_to_end.layers_that_fit(sizes, CPU, torch.bfloat16, 5) == 5


def test_a_deadline_passes():
    assert 59 < Deadline.after(1).left() <= 60
    past = Deadline(1, time.monotonic() - 3)
    assert past.left() < -1 and past.said(8) == "0 s were left, and it may take 8 s"


def test_it_needs_nothing_beyond_the_library():
    """A machine that is lent for minutes has the library's packages and no more."""
    code = "import sys, benchmarks.end_to_end; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"gradio", "plotly", "matplotlib", "easy_vqa", "ray", "playwright", "tests"}


@pytest.mark.parametrize("name", SMALL)
def test_sizes_are_those_of_the_checkpoints(name):
    checkpoints = {
        "LLaVA-1.5-7B": "llava-hf/llava-1.5-7b-hf",
        "LLaVA-NeXT-7B": "llava-hf/llava-v1.6-mistral-7b-hf",
        "Qwen2.5-VL-7B": "Qwen/Qwen2.5-VL-7B-Instruct",
    }
    sizes = true_size.MODELS[name]
    tokenizer = AutoTokenizer.from_pretrained(assets_dir() / "bundled")
    config, _, kind = sizes.make(sizes, tokenizer)
    with torch.device("meta"):
        model = kind._from_config(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters / 1e6 == pytest.approx(CATALOGUE[checkpoints[name]].parameters, rel=1e-3)
