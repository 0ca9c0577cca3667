"""Starting the page: the server first, then the model, so that the page is up while the model loads."""

import threading
from contextlib import nullcontext
from pathlib import Path

import gradio as gr
from gradio.route_utils import FnIndexInferError
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from app import tools
from app.address import TAKEN, Address, directly, root_path
from app.failures import DISK, report
from app.housekeeping import keep_house
from app.limits import RequestLimit
from app.operator import Operator
from app.registry import Registry
from app.scenes import ASSETS
from app.theme import theme
from resprune.device import limit_arenas

STATIC = Path(__file__).parent / "static"
STYLES = ("page.css", "asking.css", "map.css", "answers.css", "sweep.css", "inspect.css", "stories.css")
PAGE_FIRST = 3  # seconds
MOST_VISITORS = 1000  # of whom the page remembers something, half a MB each; of more the oldest are forgotten


def launch(
    demo: gr.Blocks, host: str | None = None, port: int | None = None, quiet: bool = False, mcp: bool = False
) -> str:
    """Serve the page in the background and return its address.

    Without a host or port Gradio decides: the loopback and a free port from 7860 on, or what a Space tells it. With
    ``mcp`` the tools that :func:`app.tools.add` has added are offered at ``/gradio_api/mcp/`` as well.

    Raises:
        SystemExit: if there cannot be an MCP server, or a setting of :class:`app.operator.Operator` cannot be read.
    """
    operator = Operator.of_environment()
    limit_arenas()
    with directly(host), tools.alone(demo) if mcp else nullcontext():
        _, address, _ = demo.launch(
            server_name=host,
            server_port=port,
            root_path=root_path(),
            quiet=quiet,
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=mcp,
            run_history=False,
            state_session_capacity=MOST_VISITORS,
            enable_monitoring=False,
            max_file_size=f"{operator.upload_mb}mb",
            auth=list(operator.auth) if operator.auth else None,
            app_kwargs={
                "middleware": [Middleware(RequestLimit)],
                "exception_handlers": {FnIndexInferError: _no_endpoint, OSError: _no_disk, ClientDisconnect: _left},
            },
            allowed_paths=[str(ASSETS / "examples")],
            footer_links=["api"],
            theme=theme(),
            css_paths=[STATIC / name for name in STYLES],
        )
    threading.Thread(target=keep_house, args=(demo,), name="keep house", daemon=True).start()
    return address


def serve(demo: gr.Blocks, registry: Registry, mcp: bool = False) -> None:
    """Serve the page where ``HOST`` and ``PORT`` of the environment say, until the process ends.

    Args:
        demo: the page.
        registry: of its model.
        mcp: whether the page is an MCP server too.

    Raises:
        SystemExit: with a sentence for the operator, if it cannot be served there, see also :func:`launch`.
    """
    where = Address.of_environment()
    if mcp:
        tools.add(demo, registry)
    try:
        launch(demo, where.host, where.port, mcp=mcp)
    except OSError as error:
        words = TAKEN.format(where.port) if where.port else f"The page cannot be served: {error}"
        raise SystemExit(words) from error
    # A first visitor's page is drawn before the model's libraries are imported, since both want the same processor; the
    # page itself starts the loading then, and without a visitor the clock does.
    clock = threading.Timer(PAGE_FIRST, registry.start)
    clock.daemon = True
    clock.start()
    demo.block_thread()


def _no_endpoint(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse('There is no such endpoint; "Use via API" at the page\'s foot lists all.', 404)


def _no_disk(request: Request, error: OSError) -> PlainTextResponse:
    """What an upload gets that cannot be stored. What is left of it is not read, so the connection ends."""
    return PlainTextResponse(report(error), 507 if error.errno in DISK else 500, {"connection": "close"})


def _left(request: Request, error: ClientDisconnect) -> PlainTextResponse:
    """For nobody: without it each upload that breaks off would fill the log with a page of trace."""
    return PlainTextResponse("", 400)
