"""The tables of speed: what a result says, and that the pages show the newest of each machine."""

import json
from pathlib import Path
from typing import Any

from benchmarks.speed import FRONT, PAGE, first_lines, newest, number, spread, tables, times_as_fast
from benchmarks.true_size import MODELS


def report(**changed: Any) -> dict[str, Any]:
    about = {"device": "A card", "processor": "A processor", "cores": 16, "threads": 8, "date": "2026-01-02"}
    versions = {"commit": "abc", "torch": "2", "transformers": "5", "dtype": "bfloat16", "clock": "wall time"}
    full = {"kept": 576, "ttft": [30.0, 40.0, 50.0], "prefill": [20.0], "tpot": [2.0], "kv_bytes": 3e8}
    kept = {"kept": 128, "ttft": [20.0, 20.0, 20.0], "select": [1.0], "prefill": [10.0], "tpot": [2.0], "kv_bytes": 8e7}
    variants = {
        "full": full | {"peak_bytes": 4e8, "waits": {"a.py:1": 2}},
        "128": kept | {"peak_bytes": 1e8, "waits": {"a.py:1": 2, "b.py:1": 3}},
        "128, mass": kept | {"ttft": [20.0, 50.0, 40.0], "peak_bytes": None, "waits": None},
    }
    cell = {"model": "LLaVA-1.5-7B", "batch": 1, "tokens": 576, "prompt": 602, "layers": 32, "true_layers": 32}
    choices = {"576 x 4096, 128": {"resprune": [1.0, 2.0], "cdpruner": [10.0, 30.0], "divprune": [4.0, 8.0]}}
    found = {
        "models": [cell | {"encode": [8.0], "variants": variants}],
        "choices": choices,
        "skipped": {"X": "no time"},
    }
    ways = {"torch.compile": {"full": {"ttft": [3.0], "tpot": [1.0]}, "128": {"error": "RuntimeError: a|b"}}}
    compiled = {"LLaVA-1.5-7B": {"layers": 4, "true_layers": 32, "ways": ways}}
    return about | versions | found | {"compiled": compiled} | changed


def test_numbers_have_three_digits() -> None:
    assert [number(x) for x in (0.4, 9.99, 9.999, 12.34, 99.96, 1234.5)] == [
        "0.40",
        "9.99",
        "10.0",
        "12.3",
        "100",
        "1,234",
    ]
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)" and spread([2.0]) == "2.00" and spread([]) == ""


def test_a_ratio_whose_range_spans_one_says_so() -> None:
    assert times_as_fast([1.2, 1.4]) == "1.30 (1.20 to 1.40)"
    assert times_as_fast([0.9, 1.2]) == "about the same, 1.05 (0.90 to 1.20)"


def test_ratios_are_those_of_each_round() -> None:
    lines = tables(report()).splitlines()
    assert "| 576 | 40.0 (30.0 to 50.0) |  |  | 20.0 | 2.00 | 300 | 400 | 2 |" in lines
    assert "| 128 | 20.0 (20.0 to 20.0) | 2.00 (1.50 to 2.50) | 1.00 | 10.0 | 2.00 | 80.0 | 100 | 5 (+3) |" in lines
    assert any("| 128, mass | 40.0 (20.0 to 50.0) | about the same, 1.25 (0.80 to 1.50) |" in line for line in lines)
    assert "| 576 x 4096, 128 | 1.50 (1.00 to 2.00) | 20.0 (10.0 to 30.0) | 12.5 (10.0 to 15.0) |" in "\n".join(lines)
    assert "Skipped: X (no time)." in lines
    assert "| LLaVA-1.5-7B, 4 of 32 layers, torch.compile | 128 | no: RuntimeError: a b |  |  |" in lines
    unpaired = tables(report(paired=False))
    assert "| 128 | 20.0 (20.0 to 20.0) | 2.00 | 1.00 |" in unpaired


def test_a_model_without_its_depth_has_no_first_token() -> None:
    shown = "| LLaVA-1.5-7B, batch of 1, A card | 576 → 128 | 1.00 | 20.0 → 10.0 | 40.0 → 20.0 | 2.00 (1.50 to 2.50) |"
    assert shown in first_lines([report()])
    shallow = report()
    shallow["models"][0]["layers"] = 1
    assert "1 of 32 layers, batch of 1, A card | 576 → 128 | 1.00 | 20.0 → 10.0 |  |  |" in first_lines([shallow])


def test_the_newest_of_each_machine_is_shown(tmp_path: Path) -> None:
    made = {
        "old": report(date="2026-01-01"),
        "new": report(date="2026-02-01"),
        "other": report(device="Another card"),
        "cpu": report(device="cpu"),
    }
    for name, one in made.items():
        (tmp_path / f"end-to-end-{name}.json").write_text(json.dumps(one))
    assert [(one["device"], one["date"]) for one in newest(tmp_path)] == [
        ("A card", "2026-02-01"),
        ("Another card", "2026-01-02"),
        ("cpu", "2026-01-02"),
    ]


def test_the_pages_show_what_the_results_say() -> None:
    reports = newest()
    assert {cell["model"] for one in reports for cell in one["models"]} == set(MODELS)
    between = [
        file.read_text(encoding="utf-8").split("<!-- speed: begin -->\n")[1].split("\n<!-- speed: end -->")[0]
        for file in (PAGE, FRONT)
    ]
    assert between == ["\n\n".join(tables(one) for one in reports), first_lines(reports)]
