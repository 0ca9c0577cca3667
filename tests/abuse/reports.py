"""A report's JSON after somebody changed it, with the right checksum unless told otherwise."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from case import ANSWER, Case

from app.report.files import RECORD, SUM, VERSION, _sum

EDGE = "Report"
FOREIGN = "This is no report of ResPrune; give the JSON file that the page saved."
CHANGED = "This report was changed or damaged after it was saved; save it again and retry."
SHOWN = f"{ANSWER}: shown as text"
MARKUP = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


def changed(change: Callable[[dict[str, Any]], Any], report: dict[str, Any], resum: bool = True) -> bytes:
    """The file after its record was changed."""
    change(report[RECORD])
    if resum:
        report[SUM] = _sum(report[RECORD])
    return json.dumps(report).encode()


def _no(why: str) -> str:
    return f"This report cannot be shown: {why}"


def _each_text(record: dict[str, Any]) -> None:
    """Markup in every text that may be any text."""
    record.update(question=MARKUP, machine=MARKUP, versions={MARKUP: MARKUP})
    for side in ("full", "pruned"):
        record[side].update(answer=MARKUP, model=MARKUP, notes=[MARKUP], nouns=[MARKUP])
    record["map"].update(question=MARKUP, relevance={MARKUP: [0.5] * len(record["map"]["order"])})
    for change in record["differences"]:
        change.update(text=MARKUP, instead=MARKUP)


_CHANGES = [
    ("another answer, and the checksum as it was",
     partial(changed, lambda r: r["full"].update(answer="x"), resum=False), CHANGED),
    ("markup in every text", partial(changed, _each_text), SHOWN),
    ("a field too many", partial(changed, lambda r: r.update(more=1)), _no("more: Extra inputs are not permitted.")),
    ("a map of 10 million patches", partial(changed, lambda r: r["map"].update(order=list(range(20_001)))),
     _no("map.order: List should have at most 20000 items after validation, not 20001.")),
    ("a time of -1", partial(changed, lambda r: r["full"].update(ttft_ms=-1)),
     _no("full.ttft_ms: Input should be greater than or equal to 0.")),
    ("a time of 1e308", partial(changed, lambda r: r["full"].update(ttft_ms=1e308)),
     _no("full.ttft_ms: Input should be less than or equal to 1000000000000.")),
    ("a text for a number", partial(changed, lambda r: r["full"].update(ttft_ms="1")),
     _no("full.ttft_ms: Input should be a valid number.")),
    ("an SVG for the picture", partial(changed, lambda r: r.update(picture="data:image/svg+xml;base64,PHN2Zz4=")),
     _no(r"picture: String should match pattern '^data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2}$'.")),
    ("an address for the picture", partial(changed, lambda r: r.update(picture="https://example.org/a.jpg")),
     _no(r"picture: String should match pattern '^data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2}$'.")),
    ("script for a method", partial(changed, lambda r: r["options"].update(method="x\"><script>")), ("method",)),
    ("a NaN", lambda report: json.dumps(report | {"x": float("nan")}).encode(), FOREIGN),
    ("brackets 100,000 deep", lambda report: b"[" * 100_000, FOREIGN),
    ("no text", lambda report: b"\xff\xfe\x00", FOREIGN),
    ("another format", lambda report: json.dumps(report | {VERSION: 99}).encode(),
     "This report has the format 99, and this page reads the format {}; open it with the version "
     "of ResPrune that saved it."),
]  # fmt: skip


def _gets(words: Any) -> str:
    from calls import METHODS, methods

    from app.record import FORMAT

    if isinstance(words, tuple):
        return _no(METHODS.format("'x\"><script>'", methods()))
    return words.replace("format {}", f"format {FORMAT}")


CASES = [Case(EDGE, name, lambda change=change: change, _gets(gets)) for name, change, gets in _CHANGES]
