"""The page's words as HTML: answers, figures, verdict, messages. What comes from a user or a model is escaped."""

from html import escape
from typing import Any

from app.figures import compared, duration, memory_of
from app.registry import Registry
from app.session import Side

NAMES = {"full": "Full", "pruned": "Pruned"}
NONE = "&ndash;"
STAGES = {
    "queued": "waiting for its turn",
    "waiting": "waiting for the full answer",
    "encode": "encoding the picture",
    "select": "choosing tokens",
    "prefill": "reading the question",
    "decode": "answering",
    "stopped": "stopped",
    "failed": "no answer",
}
IDLE = {
    "full": "The model's answer with every visual token of the picture appears here.",
    "pruned": "The same model's answer with only the tokens that ResPrune keeps appears here.",
}
ENDED = ("idle", "done", "stopped", "failed")


def icon(side: str) -> str:
    """Nine patches: all of them for the full side, three for the pruned one, so that sides differ without colour."""
    kinds = ["kept" if side == "full" or patch in (1, 3, 5) else "gone" for patch in range(9)]
    cells = "".join(
        f'<rect x="{patch % 3 * 6}" y="{patch // 3 * 6}" width="5" height="5" rx="1" class="{kind}"/>'
        for patch, kind in enumerate(kinds)
    )
    return f'<svg class="side-icon" viewBox="0 0 17 17" aria-hidden="true">{cells}</svg>'


def panel(name: str, side: Side, waiting: str | None = None) -> str:
    """One side: its name and token count, what it is doing, its answer so far, its figures.

    Args:
        name: ``"full"`` or ``"pruned"``.
        side: what is known of it.
        waiting: said in place of the stage, such as how far the model has loaded.
    """
    busy = side.stage not in ENDED
    stage = waiting or STAGES.get(side.stage, "")
    state = f'<span class="stage{" busy" if busy else ""}">{escape(stage)}</span>' if stage else ""
    return (
        f'<section class="panel {name}" aria-label="{NAMES[name]} answer" aria-busy="{str(busy).lower()}" '
        f'data-stage="{side.stage}"><header>{icon(name)}<h2>{NAMES[name]}</h2>'
        f'{_count(name, side.answer)}{state}</header><div aria-live="polite">{_body(name, side, busy)}</div>'
        f"{_figures(name, side.answer)}</section>"
    )


def _body(name: str, side: Side, busy: bool) -> str:
    if side.text:
        return f'<p class="answer{" writing" if busy else ""}">{escape(side.text.strip())}</p>'
    if busy:
        return '<p class="answer pending" aria-hidden="true"><i></i><i></i></p>'
    return f'<p class="answer empty">{IDLE[name] if side.stage == "idle" else ""}</p>'


def _count(name: str, answer: Any) -> str:
    if answer is None:
        return f'<span class="count">{"all visual tokens" if name == "full" else "the kept tokens"}</span>'
    if name == "full":
        return f'<span class="count">all {answer.tokens_total} visual tokens</span>'
    return f'<span class="count">{answer.tokens_kept} of {answer.tokens_total} visual tokens</span>'


def _figures(name: str, answer: Any) -> str:
    rows = [
        ("TTFT", "Time to first token: from the click to the first word, encoding and selection included", _ttft),
        ("Selection", "Choosing the tokens; counted in the times of this side", _selection),
        ("Prefill", "The language model reads the whole prompt", lambda a: duration(a.prefill_ms)),
        ("Decode", "From the first word to the last; pruning hardly changes it", lambda a: duration(decode_ms(a))),
        ("KV memory", "What the language model keeps of the prompt and the answer", lambda a: memory_of(a.kv_bytes)),
        ("Peak", "Most memory that the answer took above what was there before, measured", _peak),
    ]
    cells = "".join(
        f'<div title="{meaning}"><dt>{label}</dt><dd>{show(answer) if answer else NONE}</dd></div>'
        for label, meaning, show in rows
    )
    return f'<dl class="figures">{cells}</dl>'


def decode_ms(answer: Any) -> float:
    """From the first token to the end."""
    return max(0.0, answer.total_ms - answer.ttft_ms)


def _ttft(answer: Any) -> str:
    return duration(answer.ttft_ms)


def _selection(answer: Any) -> str:
    return duration(answer.select_ms) if answer.select_ms else "none"


def _peak(answer: Any) -> str:
    if answer.peak_bytes is None:
        return "unknown"
    return memory_of(answer.peak_bytes) if answer.peak_bytes >= 1e5 else "&lt; 0.1 MB"


def verdict(answers: tuple[Any, Any] | None) -> str:
    """What pruning changed, ratios first; dashes until both answers, full and pruned, are there."""
    captions = ("visual tokens", "prefill, selection included", "KV memory", "answer")
    tiles = _tiles(*answers) if answers else [(NONE, what) for what in captions]
    cells = "".join(f"<div><b>{value}</b><span>{caption}</span></div>" for value, caption in tiles)
    return f'<section class="verdict{"" if answers else " empty"}" aria-label="Verdict">{cells}</section>'


def _tiles(full: Any, pruned: Any) -> list[tuple[str, str]]:
    mass = " with mass" if pruned.mass else ""
    prefill = pruned.prefill_ms + pruned.select_ms
    ratios = [
        compared(full.tokens_kept, pruned.tokens_kept, "fewer", "more", "all tokens kept"),
        compared(full.prefill_ms, prefill, "faster", "slower", "as fast"),
        compared(full.kv_bytes, pruned.kv_bytes, "smaller", "larger", "as large"),
    ]
    captions = (
        f"{pruned.tokens_kept} of {full.tokens_total} visual tokens{mass}",
        "prefill, selection included",
        "KV memory",
    )
    same = full.answer == pruned.answer
    answer = ("=&nbsp;<em>same</em>", "answer") if same else ("&ne;&nbsp;<em>different</em>", "answer")
    tiles = [
        (f"{times}&times;&nbsp;<em>{words}</em>", what) for (times, words), what in zip(ratios, captions, strict=True)
    ]
    return [*tiles, answer]


def notes(lines: list[str]) -> str:
    """What else a result has to say, a sentence each."""
    return f'<div class="notes">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>' if lines else ""


def live(record: dict[str, Any] | None, state: str = "under way") -> str:
    """That somebody has just asked: where the figures come from, or how it stands while there are none."""
    facts = f"of {_ran(record)}, just now" if record else state
    return f'<p class="origin"><b>Live run</b> <span>{facts}</span></p>'


def stored(record: dict[str, Any], again: str = "; ask to run it here and now") -> str:
    """That nobody has just asked: where and when the comparison on the page was run, and how to run it ``again``."""
    facts = f"of {_ran(record)} on {escape(record['made'][:10])}{again}"
    return f'<p class="origin stored" role="note"><b>Stored run</b> <span>{facts}</span></p>'


def _ran(record: dict[str, Any]) -> str:
    return escape(f"{record['full']['model']} on {record['machine']}")


def message(text: str) -> str:
    """A sentence about why there is no answer; nothing for an empty text."""
    return f'<p class="message" role="alert">{escape(text)}</p>' if text else ""


def model_status(registry: Registry) -> str:
    """The model's name, its memory, and how far it or the one to come is loaded."""
    loaded, failure, progress = registry.loaded, registry.failure, registry.progress
    if registry.busy:
        now = f"; {escape(loaded.id)} answers until then" if loaded else ""
        return (
            f'<div class="model loading" role="status"><b>{escape(registry.model_id)}</b>'
            f"<span>{escape(progress.step)}{now}</span>"
            f'<progress value="{progress.share:.2f}" max="1" aria-label="Loading the model"></progress></div>'
        )
    if failure:
        still = f" {loaded.id} goes on answering." if loaded else ""
        return f'<div class="model failed" role="alert"><span>{escape(failure + still)}</span></div>'
    size = loaded.parameters / 1e6
    facts = f"{size:.0f} M parameters" if size < 1000 else f"{size / 1000:.1f} B parameters"
    where = f"on {loaded.device.upper()}"
    only = " &middot; simple scenes only" if loaded.id == "bundled" else ""
    return f'<div class="model ready"><span>{facts} {escape(where)}{only}</span></div>'
