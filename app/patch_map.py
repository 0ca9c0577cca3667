"""The patch map: which patches of the picture were kept, drawn in the browser for any budget."""

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

STATIC = Path(__file__).parent / "static"
DRAWN_SIDE = 800  # pixels; the map is never drawn larger than this


def map_value(image: Image.Image, prune: Any, processor: Any) -> dict:
    """What the browser needs to draw every budget by itself.

    Args:
        image: the picture as the model was given it, RGB.
        prune: what the pruning kept, with the order of all patches.
        processor: the one that cut the picture into patches.

    Returns:
        The picture as a data address, its size in pixels, a box ``(x0, y0, x1, y1)`` in its pixels for each patch, the
        order of all patches (best first), and how many were kept.
    """
    from resprune.layouts import boxes  # imports PyTorch, which the page does not wait for

    return {
        "src": data_address(image),
        "size": list(image.size),
        "boxes": [[round(float(edge), 2) for edge in box] for box in boxes(processor, image.size, prune.coords)],
        "order": [int(i) for i in prune.order],
        "kept": int(prune.tokens_kept),
    }


def data_address(image: Image.Image) -> str:
    """The picture, no larger than it will be drawn, as a ``data:`` address."""
    small = image.copy()
    small.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def patch_map() -> gr.HTML:
    """The component. It is a canvas of fixed HTML, so nothing of a user's can become markup."""
    return gr.HTML(
        value=None,
        html_template=(STATIC / "patch_map.html").read_text(encoding="utf-8"),
        js_on_load=(STATIC / "patch_map.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="patch-map",
    )
