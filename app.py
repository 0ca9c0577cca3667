"""The demo: ``python app.py``, ``make demo``, and the entry of a Hugging Face Space.

Settings of the environment: ``HOST`` (default: the loopback), ``PORT`` (default: the first free one from 7860 on), and
``RESPRUNE_MODEL`` (default: ``bundled``), any model that ``python -m resprune models`` names, or a folder.
"""

import os

from app.page import build
from app.registry import Registry
from app.server import serve

registry = Registry(os.environ.get("RESPRUNE_MODEL", "bundled"))
demo = build(registry)

if __name__ == "__main__":
    serve(demo, registry)
