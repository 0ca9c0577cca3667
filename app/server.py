"""Starting the page: the server first, then the model, so that the page is up while the model loads."""

from pathlib import Path

import gradio as gr

from app.registry import Registry
from app.theme import theme

STATIC = Path(__file__).parent / "static"
MAX_UPLOAD = "50mb"


def launch(demo: gr.Blocks, host: str = "127.0.0.1", port: int | None = None, quiet: bool = False) -> str:
    """Serve the page in the background and return its address."""
    _, address, _ = demo.launch(
        server_name=host,
        server_port=port,
        quiet=quiet,
        prevent_thread_lock=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        max_file_size=MAX_UPLOAD,
        footer_links=["api"],
        theme=theme(),
        css_paths=STATIC / "page.css",
    )
    return address


def serve(demo: gr.Blocks, registry: Registry, host: str, port: str | None) -> None:
    """Serve the page until the process ends."""
    launch(demo, host, int(port) if port else None)
    registry.start()
    demo.block_thread()
