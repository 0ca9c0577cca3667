"""The demo: ``python app.py``, ``make demo``, and the entry of a Hugging Face Space. ``--mcp`` adds an MCP server.

Settings of the environment: ``HOST`` (default: the loopback), ``PORT`` (default: the first free one from 7860 on, of 0
any that is free), ``RESPRUNE_MODEL`` (default: ``bundled``), any model that ``python -m resprune models`` names, or a
folder, and ``RESPRUNE_QUANTIZATION``, ``4bit`` or ``8bit``, of its language model. ``SECURITY.md`` has the others.
"""

import argparse

from app.address import importing

with importing():
    from app import zerogpu
    from app.model_choice import first_model
    from app.page import build
    from app.registry import Registry
    from app.server import serve

first = first_model()
if zerogpu.active():
    registry = Registry(first[0], zerogpu.load_model, first[1])
    registry.start_here()
else:
    registry = Registry(first[0], quantization=first[1])
demo = build(registry)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The page of ResPrune.")
    parser.add_argument("--mcp", action="store_true", help="be an MCP server too, with the tools answer and compare")
    serve(demo, registry, mcp=parser.parse_args().mcp)
