"""A sweep as people see it: progress, a table of small answers, charts of agreement and time."""

from collections import Counter
from collections.abc import Callable
from html import escape
from statistics import mean
from typing import Any, NamedTuple

import plotly.graph_objects as go

from app.charts import GRID, styled
from app.figures import duration
from app.methods import page_methods
from app.theme import FULL, PRUNED

HEIGHT = 280


class Look(NamedTuple):
    """How a method is drawn: by a sign and a dash of its own too, so that colour is never all; in plotly's words."""

    colour: str
    sign: str
    dash: str


# The colours are of Okabe and Ito's palette.
LOOKS = {
    "resprune": Look(PRUNED, "circle", "solid"),
    "cdpruner": Look("#009E73", "square", "dash"),
    "divprune": Look("#CC79A7", "diamond", "dashdot"),
    "uniform": Look("#56B4E9", "triangle-up", "dot"),
    "random": Look("#8A8F98", "x", "longdash"),
}
SPARE = (Look("#E69F00", "square", "dot"), Look("#0072B2", "diamond", "solid"), Look("#F0E442", "circle", "dash"))
# The same as SVG, for a legend of our own: plotly's stays where it was when a window is resized.
SIGNS = {
    "circle": "M15 2a3 3 0 1 1 0 6a3 3 0 1 1 0-6z",
    "square": "M12 2h6v6h-6z",
    "diamond": "M15 1l4 4-4 4-4-4z",
    "triangle-up": "M15 2l3.5 6h-7z",
    "x": "M12 2l6 6m0-6l-6 6",
}
DASHES = {"solid": "", "dash": "5 3", "dashdot": "5 3 2 3", "dot": "2 3", "longdash": "8 4"}


def look_of(method: str) -> Look:
    """How a method is drawn; those of other packages take turns at what ours leave."""
    others = [name for name in page_methods() if name not in LOOKS]
    return LOOKS.get(method) or SPARE[others.index(method) % len(SPARE)]


def progress(done: int, total: int, words: str) -> str:
    """A bar and what it waits for; ``total`` is 0 where nothing is known yet."""
    count = f"{done} of {total} answers &middot; " if total else ""
    bar = f'<progress value="{done}" max="{total}"></progress>' if total else "<progress></progress>"
    over = " over" if words in ("done", "stopped") else ""
    return f'<div class="sweep-progress{over}" role="status"><span>{count}{escape(words)}</span>{bar}</div>'


def grouped(trials: list[Any]) -> dict[str, dict[int, list[Any]]]:
    """Trials by method, then by the number of tokens kept; those of several seeds side by side."""
    groups: dict[str, dict[int, list[Any]]] = {}
    for trial in trials:
        if trial.settings is not None:
            budget = groups.setdefault(trial.settings.method.name, {})
            budget.setdefault(trial.answer.tokens_kept, []).append(trial)
    return groups


def table(trials: list[Any]) -> str:
    """A row a method, a column a budget; what models wrote is escaped."""
    full = next((trial.answer for trial in trials if trial.settings is None), None)
    if full is None:
        return ""
    groups = grouped(trials)
    budgets = sorted({kept for row in groups.values() for kept in row})
    head = "".join(f'<th scope="col">{kept} tokens</th>' for kept in budgets)
    rows = "".join(
        f'<tr><th scope="row">{page_methods()[method]}</th>{"".join(_cell(row.get(kept, [])) for kept in budgets)}</tr>'
        for method, row in groups.items()
    )
    mass = "with mass" if any(trial.answer.mass for trial in trials) else "without mass"
    return (
        f'<div class="sweep-full"><b>Full, {full.tokens_total} tokens:</b> {escape(full.answer)} '
        f"<span>prefill {duration(full.prefill_ms)}; pruned answers {mass}</span></div>"
        f'<div class="sweep-table" tabindex="0"><table><thead><tr><th scope="col">Method</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(trials: list[Any]) -> str:
    if not trials:
        return "<td></td>"
    share = mean(trial.agreement for trial in trials)
    same = all(trial.agreement == 1 for trial in trials)
    said = Counter(trial.answer.answer for trial in trials).most_common()
    words = "".join(
        f"<p>{escape(text)}{f' <i>{count}&times;</i>' if len(trials) > 1 else ''}</p>" for text, count in said
    )
    time = duration(mean(_spent(trial) for trial in trials))
    mark = "= same" if same else f"&ne; {share:.0%}"
    return f'<td class="{"same" if same else "different"}">{words}<small>{mark} &middot; {time}</small></td>'


def _spent(trial: Any) -> float:
    return trial.answer.select_ms + trial.answer.prefill_ms


def legend() -> str:
    """The sign and the line of each method, as HTML."""
    items = "".join(
        f'<li><svg viewBox="0 0 30 10" aria-hidden="true" stroke="{look.colour}" fill="{look.colour}">'
        f'<path d="M0 5h30" stroke-dasharray="{DASHES[look.dash]}"/><path d="{SIGNS[look.sign]}"/></svg>'
        f"{page_methods()[method]}</li>"
        for method, look in ((method, look_of(method)) for method in page_methods())
    )
    return f'<ul class="methods">{items}</ul>'


def agreement(trials: list[Any]) -> go.Figure | None:
    """Agreement with the full answer against the budget; ``None`` without pruned answers."""
    return _chart(trials, lambda trial: trial.agreement, {"tickformat": ".0%", "range": [-0.03, 1.08]})


def spent(trials: list[Any]) -> go.Figure | None:
    """Milliseconds of selection and prefill against the budget, and of the full prefill; ``None`` as above."""
    figure = _chart(trials, _spent, {"rangemode": "tozero"})
    if figure is not None:
        full = next(trial.answer for trial in trials if trial.settings is None).prefill_ms
        figure.add_hline(full, line={"color": FULL, "dash": "dash", "width": 1.5})
        note = {"text": "full", "font": {"color": FULL}, "showarrow": False, "xref": "x domain", "x": 1}
        figure.add_annotation(**note, xanchor="right", y=full, yanchor="bottom")
    return figure


def _chart(trials: list[Any], value: Callable[[Any], float], yaxis: dict[str, Any]) -> go.Figure | None:
    """A line a method: the mean at each budget, with the range over seeds."""
    groups = grouped(trials)
    if not groups:
        return None
    figure = go.Figure()
    for method, row in groups.items():
        look, kept = look_of(method), sorted(row)
        values = [[value(trial) for trial in row[k]] for k in kept]
        means = [mean(v) for v in values]
        spread = {
            "type": "data",
            "symmetric": False,
            "array": [max(v) - m for v, m in zip(values, means, strict=True)],
            "arrayminus": [m - min(v) for v, m in zip(values, means, strict=True)],
            "visible": any(len(v) > 1 for v in values),
            "thickness": 1,
        }
        figure.add_scatter(
            x=kept,
            y=means,
            error_y=spread,
            mode="lines+markers",
            name=page_methods()[method],
            line={"color": look.colour, "dash": look.dash, "width": 3 if method == "resprune" else 2},
            marker={"symbol": look.sign, "size": 9},
        )
    budgets = sorted({k for row in groups.values() for k in row})
    xaxis = {"type": "log", "tickvals": budgets, "title": "tokens"}
    return styled(figure, height=HEIGHT, xaxis=xaxis, yaxis=GRID | yaxis)
