"""Where the answers part: the full answer's tokens, shaded by how pruning changed their probability."""

from html import escape
from typing import Any

WHAT = (
    "Each token of the full answer is put to the pruned model as well. A shade says how much its probability changed: "
    "blue, it became less likely; orange, more likely."
)
LEAST = 0.005  # a change of less than half a point is none that anybody sees
END = "end of answer"


def strip(record: dict[str, Any] | None, busy: bool = False) -> str:
    """The strip as HTML; what models wrote is escaped.

    Args:
        record: see :mod:`app.record`; ``None`` while there is none.
        busy: whether the differences are being computed.
    """
    changes = record and record["differences"]
    head = f'<h2>Where they differ <span title="{WHAT}">full answer, token by token</span></h2>'
    if not changes:
        words = "comparing token by token" if busy else "The full answer appears here, shaded by what pruning changed."
        return (
            f'<section class="differences" aria-busy="{str(busy).lower()}">{head}<p class="empty">{words}</p></section>'
        )
    tokens = "".join(_token(**change) for change in changes)
    return f'<section class="differences">{head}<ol>{tokens}</ol><p class="key">{_summary(changes)}</p></section>'


def _token(text: str, full: float, pruned: float, instead: str | None) -> str:
    change = pruned - full
    kind = "same" if abs(change) < LEAST else "less" if change < 0 else "more"
    said = escape(text.strip()) or (f"<i>{END}</i>" if not text else "&nbsp;")
    rather = ""
    if instead is not None:
        rather = f"<s>{escape(instead.strip()) or END}</s>"
    about = f"{full:.0%} with all tokens, {pruned:.0%} with the kept ones"
    if instead is not None:
        about += f"; there it would rather say: {instead.strip() or END}"
    points = "=" if kind == "same" else f"{change * 100:+.0f}".replace("-", "&minus;")
    return (
        f'<li class="{kind}" style="--change:{abs(change):.3f}" tabindex="0" title="{escape(about)}">'
        f'<b>{said}</b><small>{points}<span class="aside">: {escape(about)}</span></small>{rather}</li>'
    )


def _summary(changes: list[dict[str, Any]]) -> str:
    """One sentence on all of them."""
    worst = max(changes, key=lambda change: abs(change["pruned"] - change["full"]))
    points = abs(worst["pruned"] - worst["full"]) * 100
    if all(change["pruned"] == change["full"] for change in changes):
        return "No probability changed by a bit."
    parted = sum(change["instead"] is not None for change in changes)
    where = f"{parted} of {len(changes)} tokens would be another word" if parted else "every token stays the likeliest"
    return f"Largest change {points:.0f} points; {where}. Numbers are percentage points."
