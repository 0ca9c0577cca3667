"""What ``benchmarks.end_to_end`` measured, as tables: ``python -m benchmarks.speed --write`` puts them into the pages.

The newest result of each machine in ``benchmarks/results`` goes into ``docs/performance.md``, its first lines into
``README.md``.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, FRONT = ROOT / "docs" / "performance.md", ROOT / "README.md"
SHOWN = {"LLaVA-1.5-7B": "128", "LLaVA-NeXT-7B": "640", "Qwen2.5-VL-7B": "0.222"}  # of README
Report = dict[str, Any]


def newest(folder: Path = RESULTS) -> list[Report]:
    """The last result of each machine, accelerators first."""
    found: dict[tuple[str, str], Report] = {}
    for path in sorted(folder.glob("end-to-end-*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        machine = (report["device"], report["processor"] if report["device"] == "cpu" else "")
        if machine not in found or found[machine]["date"] <= report["date"]:
            found[machine] = report
    return sorted(found.values(), key=lambda report: (report["device"] == "cpu", report["device"]))


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def spread(values: Sequence[float] | None) -> str:
    """Median and range; nothing of nothing."""
    if not values:
        return ""
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def ratios(report: Report, slow: Sequence[float] | None, fast: Sequence[float] | None) -> list[float]:
    """How many times as fast, of each round; of the medians alone where the rounds are not known."""
    if not slow or not fast:
        return []
    if report.get("paired", True):
        return [a / b for a, b in zip(slow, fast, strict=True)]
    return [statistics.median(slow) / statistics.median(fast)]


def times_as_fast(values: Sequence[float]) -> str:
    """:func:`spread` of ratios, which says so where they do not agree which is faster."""
    same = len(values) > 1 and min(values) <= 1 <= max(values)
    return f"about the same, {spread(values)}" if same else spread(values)


def _megabytes(count: int | None) -> str:
    return "" if count is None else number(count / 1e6)


def _waits(row: dict[str, Any], full: dict[str, Any]) -> str:
    if row.get("waits") is None:
        return ""
    own, plain = sum(row["waits"].values()), sum(full["waits"].values())
    return f"{own}" if row is full else f"{own} ({own - plain:+d})"


def calls(report: Report, cell: dict[str, Any]) -> str:
    """One model at one size of a batch, a row a variant."""
    rows, full = cell["variants"], cell["variants"]["full"]
    encoding = f"; encoding takes {spread(cell['encode'])} ms" if cell["encode"] else ""
    lines = [
        f"{cell['model']}, batch of {cell['batch']}: {cell['tokens']} visual tokens, a prompt of {cell['prompt']}, "
        f"{cell['layers']} of {cell['true_layers']} layers{encoding}.",
        "",
        "| visual tokens | first token, ms | times as fast | choosing, ms | prefill, ms | a step, ms | KV cache, MB | "
        "peak, MB | waits |",
        "|---" * 9 + "|",
    ]
    for name, row in rows.items():
        kept = f"{row['kept']}{', mass' if name.endswith('mass') else ''}"
        faster = "" if row is full else times_as_fast(ratios(report, full["ttft"], row["ttft"]))
        times = [spread(row.get(what)) for what in ("select", "prefill", "tpot")]
        memory = [_megabytes(row.get(what)) for what in ("kv_bytes", "peak_bytes")]
        cells = [kept, spread(row["ttft"]), faster, *times, *memory, _waits(row, full)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def choosing(report: Report) -> str:
    """The choice alone, ours against each other's."""
    cases = report["choices"]
    others = [name for name in next(iter(cases.values())) if name != "resprune"]
    heads = [part for name in others for part in (f"{name}, ms", f"resprune is times as fast as {name}")]
    lines = [f"| tokens x dimensions, kept | resprune, ms | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for case, times in cases.items():
        ours = times["resprune"]
        cells = [
            part for name in others for part in (spread(times[name]), times_as_fast(ratios(report, times[name], ours)))
        ]
        lines.append(f"| {case} | {spread(ours)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def compiled(report: Report) -> str:
    """Each way of compiling: first token and step, or why there are none."""
    lines = ["| compiled | asked | first token, ms | times as fast | a step, ms |", "|---" * 5 + "|"]
    for model, known in report["compiled"].items():
        for way, rows in known["ways"].items():
            where = f"{model}, {known['layers']} of {known['true_layers']} layers, {way}"
            full = rows.get("full", {}).get("ttft")
            for name, row in rows.items():
                if reason := row.get("error") or row.get("skipped"):
                    cells = [f"no: {reason.replace('|', ' ')}", "", ""]
                else:
                    faster = "" if name == "full" else times_as_fast(ratios(report, full, row["ttft"]))
                    cells = [spread(row["ttft"]), faster, spread(row["tpot"])]
                lines.append(f"| {where} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def described(report: Report) -> str:
    """A machine and what ran on it, in a sentence."""
    device = "" if report["device"] == "cpu" else f"{report['device']}, with "
    where = f"{device}{report['processor']}, {report['cores']} cores, {report['threads']} threads"
    versions = f"torch {report['torch']}, transformers {report['transformers']}"
    when = f"{report['date']}, commit {report['commit'] or 'unknown'}"
    return f"{where}; {when}, {versions}, {report['dtype']}, {report['clock']}"


def tables(report: Report) -> str:
    """All of one result."""
    parts = [f"**{described(report)}.**", *([report["note"]] if "note" in report else [])]
    parts += [calls(report, cell) for cell in report["models"]]
    if report["choices"]:
        parts += ["The choice alone:", choosing(report)]
    if report["compiled"]:
        parts += ["With the decoder compiled, batch of 1, pictures encoded before:", compiled(report)]
    for named in ("skipped", "failed"):
        if missing := report.get(named):
            told = "; ".join(f"{what} ({why})" for what, why in missing.items())
            parts.append(f"{named.capitalize()}: {told}.")
    return "\n\n".join(parts)


def first_lines(reports: Sequence[Report]) -> str:
    """README's table: one budget of each model. A model without its depth has no first token to speak of."""
    lines = [
        "| where | visual tokens | choosing, ms | prefill, ms | first token, ms | first token, times as fast | "
        "KV cache, MB |",
        "|---" * 7 + "|",
    ]
    for report in reports:
        for cell in report["models"]:
            full, row = (cell["variants"].get(name) for name in ("full", SHOWN[cell["model"]]))
            if row is None:
                continue
            whole = cell["layers"] == cell["true_layers"]
            where = report["device"] if report["device"] != "cpu" else f"{report['processor']}, {report['clock']}"
            depth = "" if whole else f", {cell['layers']} of {cell['true_layers']} layers"
            pairs = [f"{spread_of(full, what)} → {spread_of(row, what)}" for what in ("prefill", "ttft")]
            faster = times_as_fast(ratios(report, full["ttft"], row["ttft"]))
            memory = f"{_megabytes(full['kv_bytes'])} → {_megabytes(row['kv_bytes'])}" if "kv_bytes" in full else ""
            cells = [
                f"{cell['model']}{depth}, batch of {cell['batch']}, {where}",
                f"{cell['tokens']} → {row['kept']}",
                number(statistics.median(row["select"])) if row.get("select") else "",
                pairs[0] if full.get("prefill") else "",
                pairs[1] if whole else "",
                faster if whole else "",
                memory,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread_of(row: dict[str, Any], what: str) -> str:
    """The median alone, where there is one."""
    return number(statistics.median(row[what])) if row.get(what) else ""


def main() -> None:
    """Print the tables, or put them into the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into docs/performance.md and README.md")
    reports = newest()
    page = "\n\n".join(tables(report) for report in reports)
    if parser.parse_args().write:
        from benchmarks.evidence import insert  # needs what draws the figures of the evidence

        insert(PAGE, "speed", page)
        insert(FRONT, "speed", first_lines(reports))
    else:
        print(page)


if __name__ == "__main__":
    main()
