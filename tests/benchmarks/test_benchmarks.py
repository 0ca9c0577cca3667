"""The benchmarks run, at a size that takes a second: a script that nobody runs is broken."""

import json

import pytest
from tiny import tiny_llava
from transformers import LlavaForConditionalGeneration

from benchmarks import latency, overhead, serving

SMALL = (12, (6, 3), ("llama", 64, 128, 4, 4, 2))


@pytest.mark.parametrize("quantization", [None, "8bit", "4bit"])
def test_latency_measures_every_run_and_tells_the_machine(quantization, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency, "CASES", {"small": SMALL})
    out = tmp_path / "results" / "small.json"
    quantised = ["--quantization", quantization] if quantization else []
    monkeypatch.setattr("sys.argv", ["latency", "--layers", "2", "--rounds", "2", "--out", str(out), *quantised])
    latency.main()
    report = json.loads(out.read_text())
    assert report["processor"] and report["cores"] and report["quantization"] == quantization
    case = report["cases"]["small"]
    assert (case["layers"], case["true_layers"]) == (2, 4)
    assert case["ms"].keys() == {
        *("prefill 12", "step after 12"),
        *(f"{what} {k}{mass}" for what in ("prefill", "step after") for k in (6, 3) for mass in latency.MASS),
        *("selection 6", "selection 3"),
    }
    assert all(0 < row["min"] <= row["median"] <= row["max"] for row in case["ms"].values())
    assert case["budgets"]["3"]["limit"] == 76 / 67
    assert "2 of 4 layers" in capsys.readouterr().out


def test_no_more_layers_than_memory_allows(monkeypatch):
    monkeypatch.setattr(latency, "free_bytes", lambda device: 10e9)
    shape, cpu = latency.CASES["LLaVA-1.5-7B"][2], latency.torch.device("cpu")
    monkeypatch.setattr(latency, "default_dtype", lambda device: latency.torch.bfloat16)
    in_bf16 = latency.layers_that_fit(shape, cpu, None, None)
    assert in_bf16 == int(0.7 * 10e9 / (2 * 202.4e6)) == 17
    assert latency.layers_that_fit(shape, cpu, "4bit", None) == 32
    assert latency.layers_that_fit(shape, cpu, None, 5) == 5


def test_what_the_library_adds_on_the_host_is_timed():
    plain = LlavaForConditionalGeneration.generate
    times = overhead.measure(2)
    assert {name: len(ms) for name, ms in times.items()} == {"choice": 2, "own work": 2}
    assert all(ms > 0 for ms in times["choice"])
    assert LlavaForConditionalGeneration.generate is plain


def test_serving_asks_all_its_questions_in_each_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serving, "load", lambda name: tiny_llava(grid=4))
    out = tmp_path / "serving.json"
    sizes = "--direct --clients 1 3 --batch 1 3 --questions 6 --tokens 3 --rounds 2 --out"
    monkeypatch.setattr("sys.argv", ["serving", *sizes.split(), str(out)])
    asked, ask = [], serving.Batches.ask
    monkeypatch.setattr(serving.Batches, "ask", lambda self, *given: asked.append(self.most) or ask(self, *given))
    serving.main()
    report = json.loads(out.read_text())
    assert report["over"] == "no network" and report["processor"]
    assert [(row["clients"], row["at_once"]) for row in report["rows"]] == [(1, "1"), (1, "3"), (3, "1"), (3, "3")]
    assert all(0 < row["per_second"]["min"] <= row["per_second"]["median"] for row in report["rows"])
    assert {most: asked.count(most) for most in (1, 3)} == dict.fromkeys((1, 3), 16 + 2 * 2 * 6)
    assert "| clients | questions at once |" in capsys.readouterr().out
