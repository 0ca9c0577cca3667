"""Ray, an optional extra: joining a cluster or starting one on this machine, and what each worker takes of it."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resprune.errors import InputError

INSTALL = "pip install 'resprune[scale]'; in a checkout: pip install '.[scale]'"
PATIENCE = 5  # seconds to wait for the address of a cluster


@dataclass(frozen=True)
class Share:
    """What one worker takes of a cluster.

    Attributes:
        num_cpus: cores, and so many threads.
        num_gpus: 1 where the cluster has accelerators, else 0.
    """

    num_cpus: int
    num_gpus: int

    def as_dict(self) -> dict[str, int]:
        """As Ray names them."""
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}


@contextlib.contextmanager
def connected(address: str, workers: int) -> Iterator[Share]:
    """Connect to Ray for the length of a ``with`` block.

    Args:
        address: ``"local"`` starts a cluster on this machine, which ends with the block; else ``HOST:PORT`` of the head
            node, or ``"auto"`` for the cluster that this machine belongs to.
        workers: how many are to be started.

    Returns:
        The share of each worker.

    Raises:
        InputError: if Ray is not installed, the cluster cannot be reached, or it has no room for the workers.
    """
    if workers < 1:
        raise InputError(f"The number of workers is {workers}; give at least 1.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise InputError(f"Ray is not installed; install it ({INSTALL}).") from error
    if address not in ("local", "auto"):
        _check_reachable(address)
    # Workers may be more than the cores of this machine: they then share them.
    size = {"num_cpus": max(workers, os.cpu_count() or 1), "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **size)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"The Ray cluster {address!r} cannot be used ({reason}); {_HELP}.") from error
    with contextlib.redirect_stdout(sys.stderr):  # Ray tells of dead workers there, amid a result
        try:
            yield _share([node["Resources"] for node in ray.nodes() if node["Alive"]], workers)
        finally:
            ray.shutdown()


_HELP = "run this on one of its machines, with HOST:PORT as 'ray start --head' told it, or give 'local'"


def _check_reachable(address: str) -> None:
    """Ray itself tries for a long time."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InputError(f"The address of Ray is {address!r}; {_HELP}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"There is no Ray cluster at {address!r} ({error}); {_HELP}.") from error


def _share(nodes: list[dict[str, float]], workers: int) -> Share:
    """Of machines as Ray describes them: cores are divided evenly, and each worker has a GPU where there are any."""
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    if any(gpus):
        if sum(gpus) < workers:
            raise InputError(f"The Ray cluster has {sum(gpus)} GPUs for {workers} workers; ask for fewer workers.")
        return Share(1, 1)
    if sum(cpus) < workers:
        raise InputError(f"The Ray cluster has {sum(cpus)} cores for {workers} workers; ask for fewer workers.")
    # The largest share of which all find room.
    share = next(n for n in range(max(cpus), 0, -1) if sum(cpu // n for cpu in cpus) >= workers)
    return Share(share, 0)


def dtype_for(share: Share) -> Any:
    """The type in which all workers are to compute, as one of their machines judges it.

    Each for itself could judge differently, and would then answer differently.
    """
    import ray

    from resprune.device import default_dtype

    def judge() -> Any:
        import torch

        return default_dtype(torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    return ray.get(ray.remote(**share.as_dict())(judge).remote())
