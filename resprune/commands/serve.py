"""The command ``serve``."""

import argparse
import signal
from typing import Any

from resprune.commands.options import add_options, settings_of
from resprune.errors import InputError


def add_serve(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "answer questions about pictures over HTTP, as OpenAI's chat endpoint does"
    command = commands.add_parser(
        "serve",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. --keep, --method and --mass hold where a request does not say.",
    )
    command.add_argument("--replicas", type=int, default=1, metavar="N", help="copies of the model (%(default)s)")
    command.add_argument(
        "--batch", type=int, metavar="N", help="questions that each answers at once (8 on accelerators, else 1)"
    )
    command.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen at (%(default)s)")
    command.add_argument("--port", type=int, default=8000, metavar="P", help="(%(default)s)")
    command.add_argument("--ray", default="local", metavar="ADDRESS", help="of a Ray cluster (%(default)s)")
    add_options(command, keep="128", json=False)
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    from resprune.cluster import connected
    from resprune.serve import check_free, launch

    settings = settings_of(options)
    if options.replicas < 1:
        raise InputError(f"The number of replicas is {options.replicas}; give at least 1.")
    if options.batch is not None and options.batch < 1:
        raise InputError(f"The number of questions at once is {options.batch}; give at least 1.")
    check_free(options.host, options.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with connected(options.ray, options.replicas) as share:
        if options.ray == "local":
            from resprune.models import locate

            locate(options.model)  # what is wrong with it is better told here
        launch(
            options.model,
            options.quantization,
            settings,
            share,
            replicas=options.replicas,
            batch=options.batch,
            address=options.ray,
            host=options.host,
            port=options.port,
        )
