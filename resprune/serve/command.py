"""The command ``serve``."""

import argparse
import logging
import signal
import socket
import sys
import time
from typing import Any

from resprune.cluster import connected, dtype_for
from resprune.errors import InputError
from resprune.options import add_options, settings_of

NAME = "resprune"  # of the application
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_WAITING = 256  # questions, beyond those that are being answered


def add_serve(commands: Any) -> None:
    """Add the command to a parser's."""
    text = "answer questions about pictures over HTTP, as OpenAI's chat endpoint does"
    command = commands.add_parser(
        "serve",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. --keep, --method and --mass hold where a request does not say.",
    )
    command.add_argument("--replicas", type=int, default=1, metavar="N", help="copies of the model (%(default)s)")
    command.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen at (%(default)s)")
    command.add_argument("--port", type=int, default=8000, metavar="P", help="(%(default)s)")
    command.add_argument("--ray", default="local", metavar="ADDRESS", help="of a Ray cluster (%(default)s)")
    add_options(command, keep="128", json=False)
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    settings = settings_of(options)
    if options.replicas < 1:
        raise InputError(f"The number of replicas is {options.replicas}; give at least 1.")
    _check_free(options.host, options.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with connected(options.ray, options.replicas) as share:
        if options.ray == "local":
            from resprune.models import locate

            locate(options.model)  # what is wrong with it is better told here
        _run(options, settings, share)


def _run(options: argparse.Namespace, settings: Any, share: Any) -> None:
    from ray import serve

    from resprune.serve.gateway import Gateway
    from resprune.serve.replica import Replica

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    replicas = serve.deployment(
        num_replicas=options.replicas,
        max_ongoing_requests=1,
        max_queued_requests=MOST_WAITING,
        ray_actor_options=share.as_dict(),
        health_check_period_s=2,
        graceful_shutdown_timeout_s=5,
    )(Replica)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": options.host, "port": options.port},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        model = replicas.bind(options.model, options.quantization, dtype_for(share))
        serve.run(Gateway.bind(model, options.model, settings), name=NAME)
    except RuntimeError as error:
        raise InputError(f"The endpoint cannot be started ({_reason(error)}).") from error
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"http://{host}:{options.port}/v1 answers as {options.model!r}, until Ctrl-C", file=sys.stderr, flush=True)
    if options.host not in LOOPBACK:
        print("Whoever reaches this port may ask; nobody is asked for a key.", file=sys.stderr, flush=True)
    try:
        while True:
            time.sleep(1)
    finally:
        if options.ray != "local":  # a cluster of our own ends by itself
            serve.delete(NAME)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else type(error).__name__)


def _check_free(host: str, port: int) -> None:
    if not 0 < port < 65536:
        raise InputError(f"The port is {port}; give a number from 1 to 65535.")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise InputError(f"Nothing can listen at {host}:{port} ({error.strerror}); give another --port.") from error
