"""A job as HTML: how far it is, its results, a pair to vote on. What comes from a user or a model is escaped."""

import base64
import io
import math
from html import escape
from typing import Any

from app.figures import compared
from app.inspect.store import Job
from app.inspect.votes import Pair, Tally, differs
from app.panels import icon

PAGE = 24  # results on one page of the grid
THUMBNAIL = 240  # pixels
STATES = {
    "running": "running",
    "paused": "paused",
    "cancelled": "cancelled",
    "done": "done",
}
NO_JOB = '<p class="job-empty">Each picture will be answered twice: with all visual tokens, and with the kept ones.</p>'
WAITING = (
    '<section class="job" data-state="waiting" role="status"><progress aria-label="Waiting"></progress>'
    "<p>{}</p></section>"
)
NO_ROWS = '<p class="job-empty">Nothing here yet.</p>'
MEASURE = "How the probability of the full answer changes under pruning, on average a token"
ALL_JUDGED = '<p class="job-empty">There is no pair left to judge: votes are cast on answers that differ.</p>'


def state_of(job: Job, running: bool) -> str:
    """One of :data:`STATES`."""
    if not job.pending:
        return "cancelled" if job.cancelled else "done"
    return "running" if running else "paused"


def progress(job: Job, state: str) -> dict[str, Any]:
    """How far a job is, in numbers."""
    results = job.results.values()
    return {
        "state": state,
        "done": len(job.results),
        "total": len(job.plan.items),
        "different": sum(map(differs, results)),
        "errors": sum("error" in result for result in results),
    }


def status(job: Job, state: str) -> str:
    """How far a job is, how often both sides were right where that is known, and what was left out."""
    facts = progress(job, state)
    words = [f"<b>{facts['done']} of {facts['total']}</b> answered", f"{facts['different']} different"]
    words += [f"{facts['errors']} not answered"] if facts["errors"] else []
    known = [result for result in job.results.values() if "full_right" in result]
    if known:
        full, pruned = (sum(result[f"{side}_right"] for result in known) for side in ("full", "pruned"))
        words.append(f"right: full {full}, pruned {pruned} of {len(known)}")
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in job.plan.problems)
    left_out = f"<details><summary>{len(job.plan.problems)} left out</summary><ul>{problems}</ul></details>"
    return (
        f'<section class="job" data-state="{state}" role="status">'
        f'<progress value="{facts["done"]}" max="{facts["total"]}" aria-label="Answered"></progress>'
        f'<p>{" &middot; ".join(words)}<span class="state">{STATES[state]}</span></p>'
        f"{left_out if problems else ''}</section>"
    )


def waiting(words: str) -> str:
    """What a job waits for before it runs."""
    return WAITING.format(escape(words))


def grid(job: Job, numbers: list[int], page: int) -> str:
    """One page of results, each with its picture, its question and both answers."""
    if not numbers:
        return NO_ROWS
    shown = numbers[page * PAGE : (page + 1) * PAGE]
    return f'<div class="results">{"".join(_card(job, number) for number in shown)}</div>'


def pages(numbers: list[int]) -> int:
    return max(1, math.ceil(len(numbers) / PAGE))


def _card(job: Job, number: int) -> str:
    item, result = job.plan.items[number], job.results[number]
    kind = "error" if "error" in result else "different" if differs(result) else "same"
    head = f'<h3 title="{escape(item.name)}">{escape(item.name)}</h3><p class="asked">{escape(item.question)}</p>'
    if kind == "error":
        body = f'<p class="why">{escape(result["error"])}</p>'
    elif kind == "same":
        body = _said("both", "Both", result["full"]["answer"], result.get("pruned_right")) + _cost(result)
    else:
        sides = (("full", "Full"), ("pruned", "Pruned"))
        body = "".join(_said(s, name, result[s]["answer"], result.get(f"{s}_right")) for s, name in sides)
        body += _cost(result)
    return (
        f'<article class="result {kind}" data-item="{number}">{_thumbnail(job, number)}'
        f"<div>{head}{body}</div></article>"
    )


def _said(side: str, name: str, answer: str, right: bool | None) -> str:
    mark = "" if right is None else ' <i class="right">right</i>' if right else ' <i class="wrong">wrong</i>'
    signs = icon(side) if side != "both" else ""
    return f'<p class="said {side}"><b>{signs}{name}</b> {escape(answer) or "&ndash;"}{mark}</p>'


def _cost(result: dict[str, Any]) -> str:
    full, pruned = result["full"], result["pruned"]
    times, words = compared(
        full["prefill_ms"], pruned["prefill_ms"] + pruned["select_ms"], "faster", "slower", "the same prefill"
    )
    prefill = words if words == "the same prefill" else f"prefill {times}&times; {words}"
    times_less = math.exp(abs(result["change"]))
    more_or_less = "less" if result["change"] > 0 else "more"
    changed = "as likely as before" if times_less < 1.005 else f"{times_less:.3g}&times; {more_or_less} likely a token"
    return (
        f'<p class="cost">{pruned["tokens_kept"]} of {pruned["tokens_total"]} tokens &middot; {prefill} &middot; '
        f'<span title="{MEASURE}">full answer {changed}</span></p>'
    )


def _thumbnail(job: Job, number: int) -> str:
    """The picture, small; made when first shown, and kept with the job."""
    path = job.folder / f"{number}.thumb"
    if not path.exists():
        from resprune.errors import InputError
        from resprune.images import open_image

        try:
            image = open_image(job.picture(number).read_bytes()).image
        except (InputError, OSError):
            return '<div class="no-picture" aria-hidden="true"></div>'
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        path.write_bytes(file.getvalue())
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}">'


def pair(job: Job, shown: Pair | None) -> str:
    """Two answers to judge; nothing in it tells the side."""
    if shown is None:
        return ALL_JUDGED
    item = job.plan.items[shown.item]
    answers = "".join(
        f"<blockquote><b>{name}</b><p>{escape(text) or '&ndash;'}</p></blockquote>"
        for name, text in (("A", shown.a), ("B", shown.b))
    )
    return (
        f'<section class="pair" data-item="{shown.item}">{_thumbnail(job, shown.item)}'
        f'<div><p class="asked">{escape(item.question)}</p><div class="both">{answers}</div></div></section>'
    )


def tally(counted: Tally) -> str:
    """Who is ahead, with the interval; nothing before the first vote, which would tell too much."""
    if counted.share is None:
        return f'<p class="tally">{counted.left} to judge, {counted.ties} ties.</p>'
    votes = counted.full + counted.pruned
    return (
        f'<p class="tally">Pruned preferred in <b>{counted.share:.0%}</b> of {votes} decided votes (95 % interval '
        f"{counted.low:.0%} to {counted.high:.0%}); full {counted.full}, pruned {counted.pruned}, ties {counted.ties}; "
        f"{counted.left} to judge.</p>"
    )
