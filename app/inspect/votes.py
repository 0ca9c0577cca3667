"""Blind votes: which answer is better, judged without knowing which side it comes from."""

import random
from dataclasses import dataclass
from typing import Any

from app.failures import Refused
from app.inspect.store import Job

SIDES = ("full", "pruned")
CHOICES = ("a", "b", "tie")


@dataclass(frozen=True)
class Pair:
    """Two answers to be judged; which side stands first is drawn from the job's seed and is not told."""

    item: int
    a: str
    b: str


@dataclass(frozen=True)
class Tally:
    """The votes so far.

    Attributes:
        full, pruned: votes for this side.
        ties: votes for neither.
        left: pairs that are still to be judged.
        share: of the votes for a side, those for the pruned one; ``None`` without votes.
        low, high: its 95 % interval after Wilson.
    """

    full: int
    pruned: int
    ties: int
    left: int
    share: float | None
    low: float
    high: float


def order(job: Job, item: int) -> tuple[str, str]:
    """The sides of an item as A and B, the same each time."""
    first, second = random.Random(f"{job.plan.seed} sides {item}").sample(SIDES, 2)
    return first, second


def pairs(job: Job) -> list[int]:
    """Items whose answers differ, in an order drawn from the job's seed."""
    different = [i for i, result in sorted(job.results.items()) if differs(result)]
    return sorted(different, key=lambda item: random.Random(f"{job.plan.seed} order {item}").random())


def differs(result: dict[str, Any]) -> bool:
    """Whether there are two answers, and not the same."""
    return "error" not in result and result["full"]["answer"] != result["pruned"]["answer"]


def next_pair(job: Job) -> Pair | None:
    """The first pair without a vote; ``None`` when all that are there have one."""
    for item in pairs(job):
        if item not in job.votes:
            first, second = (job.results[item][side]["answer"] for side in order(job, item))
            return Pair(item, first, second)
    return None


def vote(job: Job, item: int, choice: str) -> None:
    """Note a vote; a later one on the same pair takes its place.

    Args:
        job: to which it belongs.
        item: number of the pair.
        choice: ``"a"``, ``"b"`` or ``"tie"``.

    Raises:
        Refused: if there is no such pair or choice.
    """
    if choice not in CHOICES:
        raise Refused(f"There is no choice {choice[:20]!r}; choose one of {', '.join(CHOICES)}.")
    if item not in job.results or not differs(job.results[item]):
        raise Refused(f"There is no pair {item} to vote on.")
    job.note({"item": item, "vote": "tie" if choice == "tie" else order(job, item)[CHOICES.index(choice)]})


def tally(job: Job) -> Tally:
    """Count the votes on pairs that are still there."""
    from resprune.evaluate import wilson  # not at the top: the page is up before the library is imported

    open_pairs = pairs(job)
    cast = [job.votes[item] for item in open_pairs if item in job.votes]
    full, pruned = (cast.count(side) for side in SIDES)
    low, high = wilson(pruned, full + pruned)
    share = pruned / (full + pruned) if full + pruned else None
    return Tally(full, pruned, cast.count("tie"), len(open_pairs) - len(cast), share, low, high)
