"""The demo: ``python app.py``, ``make demo``, and the entry of a Hugging Face Space.

Settings of the environment: ``HOST`` (default 127.0.0.1), ``PORT`` (default 7860, or the next free one), and
``RESPRUNE_MODEL`` (default ``bundled``), any model that ``python -m resprune models`` names.
"""

import os

from app.page import build
from app.registry import Registry
from app.server import serve

registry = Registry(os.environ.get("RESPRUNE_MODEL", "bundled"))
demo = build(registry)

if __name__ == "__main__":
    serve(demo, registry, os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT"))
