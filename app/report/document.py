"""A report as one file of HTML that asks no server for anything and can be moved about like a picture."""

import base64
import hashlib
import json
from html import escape
from string import Template
from typing import Any

from app import differences, panels
from app.charts import stages, stages_legend
from app.figures import duration, memory_of
from app.patch_map import SCRIPTS, STATIC
from app.record import answers_of
from app.report.files import without_folders
from app.session import SIDES, Side

STYLES = ("page.css", "map.css", "answers.css", "report.css")
# What would end the script element, or be read as markup, written as JSON can write it too.
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
WIDTH, BAR = 800, 34  # of the bars, in their own units
FIGURES = (
    ("Visual tokens read", lambda a: f"{a.tokens_kept} of {a.tokens_total}"),
    ("Encoding the picture", lambda a: duration(a.encode_ms)),
    ("Choosing tokens", lambda a: duration(a.select_ms) if a.select_ms else "none"),
    ("Prefill", lambda a: duration(a.prefill_ms)),
    ("Time to first token, all of these", lambda a: duration(a.ttft_ms)),
    ("Time per token after it", lambda a: "unknown" if a.tpot_ms is None else duration(a.tpot_ms)),
    ("Until the end", lambda a: duration(a.total_ms)),
    ("KV cache", lambda a: memory_of(a.kv_bytes)),
    ("Peak memory above the start", lambda a: "unknown" if a.peak_bytes is None else memory_of(a.peak_bytes)),
)


def to_html(record: dict[str, Any]) -> str:
    """The comparison with its picture, both answers, the patch map, figures, settings, versions and machine.

    Every text of a user's or a model's is escaped, and by its policy the file runs no script but its own and loads
    nothing.
    """
    record = without_folders(record)
    full, pruned = answers_of(record)
    script = _script()
    sides = zip(SIDES, (full, pruned), strict=True)
    return Template(_static("report.html")).substitute(
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style="\n".join(map(_static, STYLES)),
        question=escape(record["question"]),
        map=_static("patch_map.html"),
        total=full.tokens_total,
        kept=pruned.tokens_kept,
        verdict=panels.verdict((full, pruned)),
        panels="".join(panels.panel(name, Side("done", answer.answer, answer)) for name, answer in sides),
        differences=differences.strip(record),
        bars=_bars(full, pruned),
        figures=_table(("", "Full", "Pruned"), [(name, show(full), show(pruned)) for name, show in FIGURES]),
        settings=_table(("", ""), _settings(record)),
        notes=panels.notes(list(dict.fromkeys(full.notes + pruned.notes))),
        record=json.dumps(record, allow_nan=False).translate(ESCAPES),
        script=script,
    )


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _script() -> str:
    """The map's own scripts, in a function of their own, between what stands in for Gradio."""
    parts = "\n".join(map(_static, ("report.js", *SCRIPTS, "report_words.js")))
    return f"(() => {{\n{parts}\n}})();"


def _settings(record: dict[str, Any]) -> list[tuple[str, str]]:
    options = {name: value for name, value in record["options"].items() if name != "indices" or value}
    said = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in options.items()
    }
    facts = {"model": record["pruned"]["model"], **said, "machine": record["machine"], "made": record["made"]}
    return list((facts | record["versions"]).items())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return f"<table>{f'<thead><tr>{names}</tr></thead>' if any(head) else ''}<tbody>{lines}</tbody></table>"


def _bars(full: Any, pruned: Any) -> str:
    """Stacked bars of both sides' stages, to one scale."""
    most = max(sum(stages(full).values()), sum(stages(pruned).values())) or 1.0
    bars = "".join(
        _bar(name, row * (BAR + 10), stages(answer), most)
        for row, (name, answer) in enumerate(zip(SIDES, (full, pruned), strict=True))
    )
    return (
        f'<svg class="bars" viewBox="0 0 {WIDTH} {2 * BAR + 10}" role="img" '
        f'aria-label="Times of both sides; the table below has the numbers">{bars}</svg>{stages_legend()}'
    )


def _bar(side: str, top: int, spent: dict[str, float], most: float) -> str:
    left, parts = 0.0, []
    for stage, ms in spent.items():
        width = ms / most * WIDTH
        label = duration(ms) if width > 60 else ""
        parts.append(
            f'<rect class="{stage}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}">'
            f"<title>{side}: {stage} {duration(ms)}</title></rect>"
            f'<text class="{stage}" x="{left + width / 2:.1f}" y="{top + BAR / 2 + 5}">{label}</text>'
        )
        left += width
    return f'<g class="{side}">{"".join(parts)}</g>'
