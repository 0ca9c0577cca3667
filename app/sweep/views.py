"""A sweep as people see it: progress, a table of small answers, a plot of agreement and time."""

from collections import Counter
from html import escape
from statistics import mean
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures import duration
from app.question_side import METHODS
from app.theme import FULL, PRUNED

# Okabe and Ito's palette; each method has a sign and a dash of its own too, so that colour is never all.
LOOKS = {
    "resprune": (PRUNED, "circle", "solid"),
    "cdpruner": ("#009E73", "square", "dash"),
    "divprune": ("#CC79A7", "diamond", "dashdot"),
    "uniform": ("#56B4E9", "triangle-up", "dot"),
    "random": ("#8A8F98", "x", "longdash"),
}


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
            budget = groups.setdefault(trial.settings.method, {})
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
        f'<tr><th scope="row">{METHODS[method]}</th>{"".join(_cell(row.get(kept, [])) for kept in budgets)}</tr>'
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
    agreement = mean(trial.agreement for trial in trials)
    same = all(trial.agreement == 1 for trial in trials)
    said = Counter(trial.answer.answer for trial in trials).most_common()
    words = "".join(
        f"<p>{escape(text)}{f' <i>{count}&times;</i>' if len(trials) > 1 else ''}</p>" for text, count in said
    )
    time = duration(mean(_spent(trial) for trial in trials))
    mark = "= same" if same else f"&ne; {agreement:.0%}"
    return f'<td class="{"same" if same else "different"}">{words}<small>{mark} &middot; {time}</small></td>'


def _spent(trial: Any) -> float:
    return trial.answer.select_ms + trial.answer.prefill_ms


def plot(trials: list[Any]) -> go.Figure | None:
    """Agreement with the full answer, and selection with prefill in milliseconds, against the budget."""
    groups = grouped(trials)
    if not groups:
        return None
    figure = make_subplots(1, 2, subplot_titles=["Agreement with the full answer", "Selection and prefill, ms"])
    for method, row in groups.items():
        colour, sign, dash = LOOKS[method]
        kept = sorted(row)
        look = {
            "mode": "lines+markers",
            "name": METHODS[method],
            "legendgroup": method,
            "line": {"color": colour, "dash": dash, "width": 3 if method == "resprune" else 2},
            "marker": {"symbol": sign, "size": 9},
        }
        _line(figure, 1, kept, [[trial.agreement for trial in row[k]] for k in kept], look)
        _line(figure, 2, kept, [[_spent(trial) for trial in row[k]] for k in kept], look | {"showlegend": False})
    full = next(trial.answer for trial in trials if trial.settings is None)
    figure.add_hline(full.prefill_ms, line={"color": FULL, "dash": "dash", "width": 1.5}, col=2)
    note = {
        "text": "full",
        "font": {"color": FULL},
        "showarrow": False,
        "xref": "x2 domain",
        "x": 1,
        "xanchor": "right",
    }
    figure.add_annotation(**note, yref="y2", y=full.prefill_ms, yanchor="bottom")
    grid = {"gridcolor": "rgba(128,128,128,.2)", "zeroline": False, "automargin": True}
    figure.update_xaxes(
        type="log", tickvals=sorted({k for row in groups.values() for k in row}), title="tokens", **grid
    )
    figure.update_yaxes(**grid, rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.08], col=1)
    figure.update_layout(
        height=330,
        margin={"l": 0, "r": 12, "t": 34, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "ui-sans-serif, system-ui, sans-serif", "size": 12.5},
        legend={"orientation": "h", "y": -0.24, "x": 0},
        modebar={"remove": ["all"]},
        dragmode=False,
    )
    return figure


def _line(figure: go.Figure, col: int, x: list[int], values: list[list[float]], look: dict[str, Any]) -> None:
    """The mean at each budget, with the range over seeds."""
    means = [mean(v) for v in values]
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [max(v) - m for v, m in zip(values, means, strict=True)],
        "arrayminus": [m - min(v) for v, m in zip(values, means, strict=True)],
        "visible": any(len(v) > 1 for v in values),
        "thickness": 1,
    }
    figure.add_scatter(x=x, y=means, error_y=spread, row=1, col=col, **look)
