"""Where the time of both answers went, as stacked bars."""

from typing import Any

import plotly.graph_objects as go

from app.figures import duration
from app.theme import FULL, PRUNED

STAGES = ("encode", "select", "prefill", "decode")
OPACITY = {"encode": 0.3, "select": 1.0, "prefill": 1.0, "decode": 0.3}
PATTERNS = {"encode": "", "select": "x", "prefill": "", "decode": "/"}
GREY = "#6b7480"
NO_CLICKS = {"itemclick": False, "itemdoubleclick": False}


def stages(answer: Any) -> dict[str, float]:
    """Milliseconds of each stage of an answer; decode is what remains of the total."""
    spent = {"encode": answer.encode_ms, "select": answer.select_ms, "prefill": answer.prefill_ms}
    return spent | {"decode": max(0.0, answer.total_ms - sum(spent.values()))}


def times(full: Any, pruned: Any) -> go.Figure:
    """Stacked bars of both answers' stages, in milliseconds, in the sides' colours."""
    rows = [f"Pruned · {pruned.tokens_kept}", f"Full · {full.tokens_kept}"]  # plotly draws the first row lowest
    spent = [stages(pruned), stages(full)]
    figure = go.Figure()
    for stage in STAGES:
        values = [side[stage] for side in spent]
        figure.add_bar(
            y=rows,
            x=values,
            name=stage,
            showlegend=False,
            orientation="h",
            text=[duration(v) if v else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertemplate="%{y} tokens<br>" + stage + " %{text}<extra></extra>",
            marker=_marker(stage, PRUNED, FULL),
            textfont={"color": "white"} if OPACITY[stage] == 1 else None,
        )
        # The legend names stages, not sides, so its samples are grey.
        figure.add_bar(y=rows[:1], x=[None], name=stage, orientation="h", marker=_marker(stage, GREY))
    figure.update_layout(
        barmode="stack",
        bargap=0.35,
        height=220,
        margin={"l": 0, "r": 12, "t": 34, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "ui-sans-serif, system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"} | NO_CLICKS,
        xaxis={"nticks": 5, "tickangle": 0, "zeroline": False, "gridcolor": "rgba(128,128,128,.2)", "automargin": True},
        yaxis={"automargin": True, "ticksuffix": "  "},
        uniformtext={"minsize": 11, "mode": "hide"},
        modebar={"remove": ["all"]},
    )
    return figure


def _marker(stage: str, *colours: str) -> dict[str, Any]:
    shades = [f"rgba{(*(int(c[i : i + 2], 16) for i in (1, 3, 5)), OPACITY[stage])}" for c in colours]
    pattern = {"shape": PATTERNS[stage], "fgcolor": ["white" if OPACITY[stage] == 1 else c for c in colours], "size": 6}
    return {"color": shades, "line": {"width": 0}, "pattern": pattern | {"solidity": 0.2, "fillmode": "overlay"}}
