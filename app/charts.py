"""What both answers cost, drawn: stacked bars of their times, bars of their KV memory, the curve of the energy."""

from math import log10
from typing import Any

import plotly.graph_objects as go

from app.figures import duration, memory_of
from app.theme import FULL, PRUNED

STAGES = ("encode", "select", "prefill", "decode")
OPACITY = {"encode": 0.3, "select": 1.0, "prefill": 1.0, "decode": 0.3}
PATTERNS = {"encode": "", "select": "x", "prefill": "", "decode": "/"}
GREY = "#6b7480"
GRID = {"gridcolor": "rgba(128,128,128,.2)", "zeroline": False}
HEIGHT = 190
MOST_POINTS = 200  # of a curve: more are not seen


def stages(answer: Any) -> dict[str, float]:
    """Milliseconds of each stage of an answer; decode is what remains of the total."""
    spent = {"encode": answer.encode_ms, "select": answer.select_ms, "prefill": answer.prefill_ms}
    return spent | {"decode": max(0.0, answer.total_ms - sum(spent.values()))}


def stages_legend() -> str:
    """What is what in a bar of stages, as HTML: plotly's own legend stays where it was when a window is resized."""
    items = "".join(f'<li class="{stage}"><i></i>{stage}</li>' for stage in STAGES)
    return f'<ul class="stages">{items}</ul>'


def times(full: Any, pruned: Any) -> go.Figure:
    """Stacked bars of both answers' stages, in milliseconds, in the sides' colours."""
    rows = _rows(full, pruned)
    spent = [stages(pruned), stages(full)]
    figure = go.Figure()
    for stage in STAGES:
        values = [side[stage] for side in spent]
        figure.add_bar(
            y=rows,
            x=values,
            name=stage,
            orientation="h",
            text=[duration(v) if v else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertemplate="%{y}<br>" + stage + " %{text}<extra></extra>",
            marker=_marker(stage, PRUNED, FULL),
            textfont={"color": "white"} if OPACITY[stage] == 1 else None,
        )
    return styled(figure, barmode="stack", bargap=0.35, uniformtext={"minsize": 11, "mode": "hide"})


def memory(full: Any, pruned: Any) -> go.Figure:
    """Bars of both answers' KV cache, in bytes."""
    sizes = [pruned.kv_bytes, full.kv_bytes]
    figure = go.Figure()
    figure.add_bar(
        y=_rows(full, pruned),
        x=[size / 1e6 for size in sizes],
        orientation="h",
        text=[memory_of(size) for size in sizes],
        textposition="auto",
        insidetextanchor="end",
        textangle=0,
        hovertemplate="%{y}<br>%{text}<extra></extra>",
        marker={"color": [PRUNED, FULL], "line": {"width": 0}},
    )
    return styled(figure, bargap=0.35, xaxis={"nticks": 4})


def energy(captured: list[float] | None, budget: int) -> go.Figure | None:
    """The share of the energy that the first 1..N tokens hold, N on a logarithmic axis, with one budget marked.

    ``None`` without energies.
    """
    if not captured:
        return None
    total, k = len(captured), min(budget, len(captured))
    spaced = (round(total ** (n / MOST_POINTS)) for n in range(MOST_POINTS + 1))
    tokens = sorted({*spaced, k, total})
    figure = go.Figure()
    line = {"color": PRUNED, "width": 2.5}
    shares = [captured[n - 1] for n in tokens]
    figure.add_scatter(
        x=tokens,
        y=shares,
        mode="lines",
        line=line,
        hovertemplate="%{x} tokens: %{y:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=[k],
        y=[captured[k - 1]],
        mode="markers",
        marker={"color": PRUNED, "size": 11, "line": {"color": "white", "width": 2}},
        hoverinfo="skip",
        cliponaxis=False,
    )
    left = k * k < total  # in the left half of a logarithmic axis
    figure.add_annotation(
        x=log10(k),
        y=0.1,
        text=f"<b>{captured[k - 1]:.1%}</b> with {k}",
        showarrow=False,
        xanchor="left" if left else "right",
        xshift=7 if left else -7,
    )
    drop = {"type": "line", "x0": k, "x1": k, "y0": 0, "y1": captured[k - 1]}
    return styled(
        figure,
        xaxis={"type": "log", "range": [-0.03, log10(total) + 0.03], "tickvals": _ticks(total)},
        yaxis={
            "range": [0, 1.06],
            "tickformat": ".0%",
            "nticks": 4,
        }
        | GRID,
        shapes=[drop | {"line": {"dash": "dot", "width": 1.5, "color": GREY}}],
    )


def _ticks(total: int) -> list[int]:
    """Powers of ten, and the number of all tokens where it is not too near to one."""
    powers = [10**n for n in range(len(str(total)))]
    return [*(power for power in powers if power < total / 2), total]


def _rows(full: Any, pruned: Any) -> list[str]:
    return [f"Pruned · {pruned.tokens_kept}", f"Full · {full.tokens_kept}"]  # plotly draws the first row lowest


def styled(figure: go.Figure, **layout: Any) -> go.Figure:
    """The look that the charts share."""
    axis = {"nticks": 5, "tickangle": 0, "automargin": True} | GRID
    figure.update_layout(
        height=layout.pop("height", HEIGHT),
        showlegend=False,
        margin={"l": 0, "r": 12, "t": 26, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "ui-sans-serif, system-ui, sans-serif", "size": 12.5},
        xaxis=axis | layout.pop("xaxis", {}),
        yaxis={"automargin": True, "ticksuffix": "  "} | layout.pop("yaxis", {}),
        modebar={"remove": ["all"]},
        dragmode=False,
        **layout,
    )
    return figure


def _marker(stage: str, *colours: str) -> dict[str, Any]:
    shades = [f"rgba{(*(int(c[i : i + 2], 16) for i in (1, 3, 5)), OPACITY[stage])}" for c in colours]
    pattern = {"shape": PATTERNS[stage], "fgcolor": ["white" if OPACITY[stage] == 1 else c for c in colours], "size": 6}
    return {"color": shades, "line": {"width": 0}, "pattern": pattern | {"solidity": 0.2, "fillmode": "overlay"}}
