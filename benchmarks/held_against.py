"""The arithmetic of ``benchmarks.scale`` held against whole calls that ``benchmarks.end_to_end`` measured on cards."""

import statistics
from typing import Any

from benchmarks.shapes import CARDS, MODELS, encode_work, prefill_work
from benchmarks.speed import newest, number


def against_cards(of_peak: float) -> str:
    """A row a card, model, size of a batch and budget: what the arithmetic says of a picture, and what was measured.

    Args:
        of_peak: the share of a card's operations that the arithmetic assumes.
    """
    lines = [
        "| measured on | visual tokens | encoder, paper / measured | prefill, paper / measured | first token, paper / "
        "measured | choosing, measured |",
        "|---" * 6 + "|",
    ]
    for report in newest():
        card = next((card for card in CARDS if card.split()[0] in report["device"]), None)
        for cell in report["models"] if card else ():
            if cell["layers"] == cell["true_layers"]:
                lines += _rows_of(report["device"], CARDS[card].peak * of_peak, cell)
    return "\n".join(lines)


def _rows_of(device: str, compute: float, cell: dict[str, Any]) -> list[str]:
    model = next(model for name, model in MODELS.items() if name.startswith(cell["model"]))
    text, batch = cell["prompt"] - cell["tokens"], cell["batch"]

    def a_picture(times: list[float] | None) -> str:
        return number(statistics.median(times) / batch) if times else ""

    encode = 1e3 * encode_work(model, cell["tokens"]) / compute
    rows = []
    for name, row in cell["variants"].items():
        if not name.endswith("mass"):
            prefill = 1e3 * prefill_work(model, row["kept"] + text) / compute
            cells = [
                f"{cell['model']}, batch of {batch}, {device}",
                str(row["kept"]),
                f"{number(encode)} / {a_picture(cell['encode'])}",
                f"{number(prefill)} / {a_picture(row.get('prefill'))}",
                f"{number(encode + prefill)} / {a_picture(row['ttft'])}",
                a_picture(row.get("select")),
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return rows
