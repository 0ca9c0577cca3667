"""The patch map: which patches of the picture were kept, drawn in the browser for any budget."""

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("map_state.js", "map_drawing.js", "map_words.js", "map_events.js")  # one script, read in this order
DRAWN_SIDE = 800  # pixels; the map is never drawn larger than this


def map_value(image: Image.Image, question: str, update: Any, processor: Any) -> dict[str, Any]:
    """What the browser needs to draw every budget by itself. N is the number of visual tokens of the picture.

    Args:
        image: the picture as the model was given it, RGB.
        question: as it was asked.
        update: the last one of the pruned side.
        processor: the one that cut the picture into patches.

    Returns:
        ``size`` of the picture in pixels; for each patch its box ``(x0, y0, x1, y1)`` in these pixels and its place
        ``(tile, row, col)``; ``order`` of all patches, best first, with ``energy`` and ``captured`` along it where the
        method knows them; ``nested``, whether the first k of it are what a budget of k keeps; ``kept``, the patches of
        the answer, in order; ``question`` and ``relevance`` of each patch to each of its nouns; where kept patches
        stand for others, ``ranks`` for each patch, see :func:`resprune.selection.succession`, and ``owner``, the patch
        that stands for it in the answer, or ``None``; ``auto``, the budget that holds 90 % of the energy.
    """
    from resprune.layouts import boxes  # imports PyTorch, which the page does not wait for
    from resprune.methods import available
    from resprune.selection import represented_by, succession
    from resprune.settings import Mass

    prune, features = update.prune, update.encoded.features
    corners = boxes(processor, image.size, prune.coords, every=prune.coords)
    chosen, order = prune.selection.chosen.tolist(), prune.order
    nested = available()[prune.method].nested
    mass, alike = prune.mass is not None, Mass().alike  # which the page does not change
    stand_ins = represented_by(features, prune.selection.chosen.to(features.device), alike).tolist() if mass else []
    return {
        "size": list(image.size),
        "boxes": [[round(edge, 2) for edge in box] for box in corners.tolist()],
        "places": prune.coords.tolist(),
        "order": order.tolist(),
        "nested": nested,
        "energy": _rounded(prune.energy, 4),
        "captured": _rounded(prune.captured, 5),
        "kept": chosen,
        "question": question,
        "relevance": {noun: _rounded(values, 3) for noun, values in prune.relevance.items()},
        "ranks": succession(features, order.to(features.device), alike) if mass and nested else None,
        "owner": [chosen[place] if place >= 0 else None for place in stand_ins] if mass else None,
        "auto": automatic(prune.captured),
    }


def by_hand(value: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
    """The map of patches chosen by hand, with the order, energies and relevance of the map that they were chosen on."""
    if known is None or len(known["order"]) != len(value["order"]):
        return value
    own = ("kept", "owner", "size", "boxes", "places")
    return known | {name: value[name] for name in own} | {"by_hand": True}


def automatic(captured: Any) -> int | None:
    """The budget of ``keep="auto"``, from the ``[N]`` captured shares; ``None`` where there are none."""
    from resprune.settings import AUTO_LEAST, AUTO_MOST, Settings

    if captured is None:
        return None
    enough = 1 + int((captured < Settings().energy).sum())
    most = max(1, round(AUTO_MOST * len(captured)))
    return min(max(enough, AUTO_LEAST), most)


def data_address(image: Image.Image) -> str:
    """The picture, no larger than it will be drawn, as a ``data:`` address."""
    small = image.copy()
    small.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def patch_map(value: dict[str, Any] | None = None) -> gr.HTML:
    """The component. It is a canvas of fixed HTML, so nothing of a user's can become markup."""
    return gr.HTML(
        value=value,
        html_template=(STATIC / "patch_map.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS),
        apply_default_css=False,
        elem_id="patch-map",
        elem_classes="patch-map",
    )


def _rounded(values: Any, digits: int) -> list[float] | None:
    """Numbers with so many significant digits: what goes to the browser is shorter by half."""
    return None if values is None else [float(f"{value:.{digits}g}") for value in values.tolist()]
