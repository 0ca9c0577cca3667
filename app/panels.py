"""The page's words as HTML: answers, figures, verdict, messages. What comes from a user or a model is escaped."""

from html import escape
from typing import Any

from app.figures import compared, duration, memory
from app.registry import Loaded, Progress
from app.session import Run, Side

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
        ("Tokens", "Visual tokens that the language model reads", "tokens_kept", str),
        ("TTFT", "Time to first token, with encoding and selection", "ttft_ms", duration),
        ("Selection", "Choosing the tokens; counted in the times of this side", "select_ms", duration),
        ("Prefill", "The language model reads the whole prompt", "prefill_ms", duration),
        ("KV memory", "What the language model keeps of the prompt and the answer", "kv_bytes", memory),
    ]
    cells = "".join(
        f'<div title="{meaning}"><dt>{label}</dt><dd>{show(getattr(answer, field)) if answer else NONE}</dd></div>'
        for label, meaning, field, show in rows
        if name == "pruned" or label != "Selection"
    )
    return f'<dl class="figures">{cells}</dl>'


def verdict(run: Run | None) -> str:
    """What pruning changed, ratios first; dashes until both answers are there."""
    both = run.answers if run else None
    tiles = _tiles(*both) if both else [(NONE, what) for what in ("visual tokens", "prefill", "KV memory", "answer")]
    cells = "".join(f"<div><b>{value}</b><span>{caption}</span></div>" for value, caption in tiles)
    return f'<section class="verdict{"" if both else " empty"}" aria-label="Verdict">{cells}</section>'


def _tiles(full: Any, pruned: Any) -> list[tuple[str, str]]:
    prefill = pruned.prefill_ms + pruned.select_ms
    ratios = [
        compared(full.tokens_kept, pruned.tokens_kept, "fewer visual tokens", "more visual tokens", "all tokens kept"),
        compared(full.prefill_ms, prefill, "faster prefill", "slower prefill", "the same prefill"),
        compared(full.kv_bytes, pruned.kv_bytes, "less KV memory", "more KV memory", "the same KV memory"),
    ]
    tiles = [(f"{times}&times;", words) for times, words in ratios]
    tiles[1] = (tiles[1][0], f"{tiles[1][1]}, selection included")
    same = full.answer == pruned.answer
    return [*tiles, ("=", "same answer") if same else ("&ne;", "different answer")]


def nouns(found: list[str], notes: list[str]) -> str:
    """The nouns that weighed the patches, and what else the result has to say."""
    chips = "".join(f"<li>{escape(noun)}</li>" for noun in found)
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes)
    named = f'<div class="nouns"><span>Nouns in the question</span><ul>{chips}</ul></div>' if chips else ""
    return f'{named}<div class="notes">{lines}</div>' if lines else named


def message(text: str) -> str:
    """A sentence about why there is no answer; nothing for an empty text."""
    return f'<p class="message" role="alert">{escape(text)}</p>' if text else ""


def model_status(model_id: str, progress: Progress, loaded: Loaded | None, failure: str | None) -> str:
    """The model's name and how far it is loaded."""
    name = "Bundled model" if model_id == "bundled" else escape(model_id)
    if failure:
        return f'<div class="model failed" role="alert"><b>{name}</b><span>{escape(failure)}</span></div>'
    if loaded:
        size = loaded.parameters / 1e6
        facts = f"{size:.0f} M parameters" if size < 1000 else f"{size / 1000:.1f} B parameters"
        facts += f" on {escape(loaded.device.upper())} &middot; ready"
        return f'<div class="model ready"><b>{name}</b><span>{facts}</span></div>'
    return (
        f'<div class="model loading" role="status"><b>{name}</b><span>{escape(progress.step)}</span>'
        f'<progress value="{progress.share:.2f}" max="1" aria-label="Loading the model"></progress></div>'
    )
