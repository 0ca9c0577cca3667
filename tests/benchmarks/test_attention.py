"""The benchmark of attention's routes runs, and all its routes lead to the same answer."""

import json

import torch

from benchmarks import attention


def test_every_route_gives_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attention, "CASES", {"small": (4, 2, 9)})
    out = tmp_path / "attention.json"
    monkeypatch.setattr(attention, "REPEATS", 1)
    given = ["attention", "--device", "cpu", "--rounds", "2", "--batches", "1", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*given, "--cases", "small"])
    attention.main()
    report = json.loads(out.read_text())
    assert report["processor"] and report["torch"] == torch.__version__ and len(report["cases"]) == 4
    for name, figures in report["cases"].items():
        refused = {route for route, row in figures.items() if "refused" in row}
        stock = {"ours, matrix"} | ({"ours, one row"} if "decoding" in name else set())  # see Fused
        assert refused == (set() if "prefill, batch 1" in name else stock)
        figures = {route: row for route, row in figures.items() if route not in refused}
        assert len(figures) == 7 - len(refused)
        assert all(0 <= row["min"] <= row["ms"] <= row["max"] and row["first"] > 0 for row in figures.values())
        assert figures.pop("without mass")["away"] is None
        assert all(row["away"] < 3e-2 and len(row["kernels"]) == 1 for row in figures.values())
    assert capsys.readouterr().out.count("| ours, one row |") == 4  # two of them refused
