"""The evidence: a small study runs by its command, and the tables say what the reports say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence import FIRST, SIZES, insert
from benchmarks.tables import SETS, VALIDATION, absent, against_ours, first_table, kinds, table
from resprune.evaluate.statistics import OURS

ROOT = Path(__file__).parents[2]


def report(p: float = 0.01, difference: float = 0.2) -> dict[str, Any]:
    def result(method: str, relative: float) -> dict[str, Any]:
        shares = {"accuracy": 0.5, "relative": relative, "relative_interval": [relative - 0.1, relative + 0.1]}
        return {"method": method, "keep": "16", "kinds": {"present no": 0.25}} | shares

    over = {"over_random": {"p": p, "difference": difference}}
    results = [result("resprune+mass", 0.98) | over, result("random", 0.6)]
    full = {"accuracy": 0.9, "kinds": {"present no": 1.0}}
    return {"keep": ["16"], "methods": ["resprune+mass", "random"], "results": results, "full": full}


def test_a_table_says_how_good_and_how_sure() -> None:
    assert table(report()).splitlines()[2:] == [
        "| resprune + mass | 98 % (88 to 108) * |",
        "| random | 60 % (50 to 70) |",
    ]
    assert "98 % (88 to 108) |" in table(report(p=0.2))
    assert "(below random) *" in table(report(difference=-0.2))


def test_no_is_told_apart() -> None:
    lines = absent(report()).splitlines()
    assert lines[2].startswith("| all tokens | 576 | 90 % | 100 % |")
    assert lines[3].startswith("| resprune + mass | 16 | 50 % | 25 % |")


def test_a_lead_is_signed_and_says_how_sure() -> None:
    one = report()
    one["results"][1] |= {"ours_over": {"difference": 0.123, "interval": [0.05, 0.2], "p": 0.01}}
    assert against_ours(one).splitlines()[2:] == ["| random | +12.3 (+5.0 to +20.0) * |"]
    one["results"][1]["ours_over"] |= {"difference": -0.01, "interval": [-0.05, 0.02], "p": 0.6}
    assert against_ours(one).splitlines()[2:] == ["| random | -1.0 (-5.0 to +2.0) |"]


def test_kinds_stand_beside_their_budgets() -> None:
    assert kinds(report(), "resprune+mass").splitlines() == [
        "| tokens | 576 | 16 |",
        "|---|---|---|",
        "| all kinds | 90 % | 50 % |",
        "| present no | 100 % | 25 % |",
    ]


def test_tables_go_between_their_markers_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- t: begin -->\nold\n<!-- t: end -->\nafter\n")
    for text in ("new", "newer"):
        insert(file, "t", text)
        assert file.read_text() == f"before\n<!-- t: begin -->\n{text}\n<!-- t: end -->\nafter\n"
    with pytest.raises(ValueError, match="no markers"):
        insert(file, "other", "text")


def test_the_small_study_runs_by_its_command(tmp_path: Path) -> None:
    page, readme = tmp_path / "page.md", tmp_path / "README.md"
    for file in (page, readme):
        file.write_text("<!-- evidence: begin --><!-- evidence: end -->")
    said = [sys.executable, "-m", "benchmarks.evidence", "--size", "small", "--out", str(tmp_path / "evidence")]
    ours = [ROOT / "docs" / "evidence.md", ROOT / "README.md"]
    before = [file.read_text() for file in ours]
    for where in ([], ["--docs", str(page), "--readme", str(readme)]):  # the second time everything is there
        done = subprocess.run([*said, *where], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert ("| random + mass |" in done.stdout) == (not where), "tables are printed where no file is named"
    assert [file.read_text() for file in ours] == before
    folder = tmp_path / "evidence" / "small" / "emoji-test"
    made = json.loads((folder / "report.json").read_text())
    assert made["methods"] == list(SIZES["small"].methods) and made["full"]["questions"] > 10
    rows = (folder / "rows.jsonl").read_text().splitlines()
    assert len(rows) == made["full"]["questions"] * (1 + len(made["results"]))
    assert "| random + mass |" in page.read_text()
    assert "| resprune + mass |" in readme.read_text()


def test_the_committed_tables_are_those_of_the_committed_reports() -> None:
    readme, page = (ROOT / "README.md").read_text(), (ROOT / "docs" / "evidence.md").read_text()
    made = {path.parent.name: json.loads(path.read_text()) for path in (ROOT / "evidence").glob("full/*/report.json")}
    assert set(made) == {*SETS, *(f"variants-{name}" for name in VALIDATION)}
    assert all(table(one) in page for one in made.values())
    assert all(against_ours(made[name]) in page and kinds(made[name], OURS) in page for name in SETS)
    assert first_table({name: made[name] for name in FIRST}) in readme
