"""Start the endpoint on a cluster of Ray, and keep it up until the process is told to end."""

import logging
import socket
import sys
import time

from resprune.cluster import Share, dtype_for
from resprune.errors import InputError
from resprune.settings import Settings

NAME = "resprune"  # of the application
AT_ONCE = 8  # questions that a replica on an accelerator answers at once
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_WAITING = 256  # questions, beyond those that are being answered


def launch(
    model: str,
    quantization: str | None,
    settings: Settings,
    share: Share,
    *,
    replicas: int,
    batch: int | None,
    address: str,
    host: str,
    port: int,
) -> None:
    """Answer until the process is interrupted.

    Args:
        model: see :func:`resprune.models.load`.
        quantization: of it.
        settings: of pruning, where a request does not say.
        share: what each replica takes of the cluster, which is connected.
        replicas: copies of the model.
        batch: questions that each answers at once, at most; where ``None``, :data:`AT_ONCE` on accelerators. On
            processors it is then 1: batches gain little there, and rounding depends on what else is in one.
        address: of the cluster, ``"local"`` for one of our own.
        host, port: where to listen.

    Raises:
        InputError: if it cannot be started.
    """
    from ray import serve

    from resprune.serve.gateway import Gateway
    from resprune.serve.replica import Replica

    batch = batch or (AT_ONCE if share.num_gpus else 1)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    deployed = serve.deployment(
        num_replicas=replicas,
        # Those of the next batch wait where it will be made; a single question waits for whichever replica is free.
        max_ongoing_requests=2 * batch if batch > 1 else 1,
        max_queued_requests=MOST_WAITING,
        ray_actor_options=share.as_dict(),
        health_check_period_s=2,
        graceful_shutdown_timeout_s=5,
    )(Replica)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        bound = deployed.bind(model, quantization, dtype_for(share), batch)
        serve.run(Gateway.bind(bound, model, settings), name=NAME)
    except RuntimeError as error:
        raise InputError(f"The endpoint cannot be started ({_reason(error)}).") from error
    place = f"[{host}]" if ":" in host else host
    print(f"http://{place}:{port}/v1 answers as {model!r}, until Ctrl-C", file=sys.stderr, flush=True)
    if host not in LOOPBACK:
        print("Whoever reaches this port may ask; nobody is asked for a key.", file=sys.stderr, flush=True)
    try:
        while True:
            time.sleep(1)
    finally:
        if address != "local":  # a cluster of our own ends by itself
            serve.delete(NAME)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else type(error).__name__)


def check_free(host: str, port: int) -> None:
    """Refuse an address at which nothing can listen.

    Raises:
        InputError: if it is taken or is none.
    """
    if not 0 < port < 65536:
        raise InputError(f"The port is {port}; give a number from 1 to 65535.")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise InputError(f"Nothing can listen at {host}:{port} ({error.strerror}); give another --port.") from error
