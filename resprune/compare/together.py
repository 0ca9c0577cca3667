"""Questions about different pictures, each pruned in its own way, answered in one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import torch
from transformers import BatchFeature, PreTrainedModel, ProcessorMixin

from resprune.attachment import pruned
from resprune.compare.answers import Answer, Update
from resprune.compare.comparison import answer
from resprune.compare.encoded import check_room
from resprune.compare.generation import explained
from resprune.compare.rows import Row, Rows
from resprune.compare.text import complete, settled
from resprune.device import device_of, now_ms
from resprune.images import OpenedImage, Source, checked_question, open_image
from resprune.question import build_inputs, collate
from resprune.seam import PruneResult, encode
from resprune.settings import Settings

_SIDE = "pruned"


@dataclass(frozen=True)
class Asked:
    """A question among others.

    Attributes:
        image: whatever :func:`resprune.images.open_image` takes.
        question: in the user's words.
        settings: of pruning.
        max_new_tokens: at most, of the answer.
        stop: set by any thread to end this answer within a token; the others go on.
    """

    image: Source | OpenedImage
    question: str
    settings: Settings
    max_new_tokens: int = 64
    stop: Event = field(default_factory=Event)


Tell = Callable[[int, Update | Exception], None]


def answer_together(model: PreTrainedModel, processor: ProcessorMixin, asked: Sequence[Asked], tell: Tell) -> None:
    """Answer questions in one batch, as :func:`resprune.compare.answer` answers each, up to rounding.

    One question is answered as if there were no batch. So are those of methods whose tokens leave inside the model,
    after the others; and all that have no answer yet where the batch fails, for want of memory or because one of them
    asks for what cannot be: then each has its own answer, or its own error.

    Times of an answer begin where the batch does. Encoding and prefill are those of the whole batch, which each
    question waits for; ``kv_bytes`` are those of its own columns, padding left out, and the peak of memory, which all
    share, is not told.

    Args:
        model: of a supported family, with nothing attached; one batch at a time.
        processor: that belongs to it.
        asked: the questions.
        tell: called in this thread with the number of a question and what happened: updates of the stages ``"decode"``
            and, last, ``"done"`` or ``"stopped"``, or an error in place of them. One answered by itself has all stages.
    """
    left = list(range(len(asked)))
    shared = [number for number in left if not asked[number].settings.method.inside]
    if len(shared) > 1:
        over: set[int] = set()

        def told(number: int, update: Update | Exception) -> None:
            if isinstance(update, Exception) or update.stage in ("done", "stopped"):
                over.add(number)
            tell(number, update)

        try:
            _batch(model, processor, {number: asked[number] for number in shared}, told)
        except Exception as error:  # of one question, or of their number: asked alone, each has its own
            explained(error)
        left = [number for number in left if number not in over]
    for number in left:
        _alone(model, processor, number, asked[number], tell)


def _alone(model: PreTrainedModel, processor: ProcessorMixin, number: int, one: Asked, tell: Tell) -> None:
    try:
        for update in answer(
            model,
            processor,
            one.image,
            one.question,
            one.settings,
            max_new_tokens=one.max_new_tokens,
            stop=one.stop,
        ):
            tell(number, update)
    except Exception as error:
        tell(number, error)


@torch.no_grad()
def _batch(model: PreTrainedModel, processor: ProcessorMixin, asked: dict[int, Asked], tell: Tell) -> None:
    """Answer those of ``asked`` that can be read; what is wrong with the others is told at once."""
    device = device_of(model)
    start = now_ms(device)
    prompts: dict[int, BatchFeature] = {}
    notes: dict[int, list[str]] = {}
    for number, one in asked.items():
        if one.stop.is_set():
            tell(number, Update(_SIDE, "stopped"))
            continue
        try:
            opened = one.image if isinstance(one.image, OpenedImage) else open_image(one.image)
            inputs = build_inputs(processor, opened.image, checked_question(one.question))
            check_room(model, inputs, one.max_new_tokens)
        except Exception as error:
            tell(number, error)
            continue
        prompts[number], notes[number] = inputs, opened.notes
    if len(prompts) < 2:
        return  # the one that is left is answered alone
    batch = collate(list(prompts.values()), processor.tokenizer).to(device, dtype=model.dtype)
    encoded = encode(model, batch)
    encode_ms = now_ms(device) - start
    given = {name: value for name, value in batch.items() if name != "pixel_values"}
    given["mm_encoder_outputs"] = {"image": encoded}
    numbers, lengths = list(prompts), [one["input_ids"].shape[1] for one in prompts.values()]
    rows = Rows(model, [Row(asked[number].max_new_tokens, asked[number].stop) for number in numbers])
    with pruned(model, processor):
        generate = partial(model.generate, resprune=[asked[number].settings for number in numbers])
        with rows.answering(generate, given) as steps:
            for place in (place for grown in steps for place in grown):
                row, number = rows.rows[place], numbers[place]
                prune = model.resprune.last[place]
                if not row.over:
                    tell(number, Update(_SIDE, "decode", settled(processor.tokenizer, row.token_ids).strip()))
                elif row.stop.is_set():
                    tell(number, Update(_SIDE, "stopped"))
                else:
                    text = complete(processor.tokenizer, row.token_ids).strip()
                    read = lengths[place] - (prune.tokens_total - prune.tokens_kept)
                    said = _answer(rows, row, prune, asked[number].settings, text, read, encode_ms, notes[number])
                    tell(number, Update(_SIDE, "done", text, said, prune, tuple(row.token_ids), None, read))


def _answer(
    rows: Rows,
    row: Row,
    prune: PruneResult,
    settings: Settings,
    text: str,
    read: int,
    encode_ms: float,
    notes: list[str],
) -> Answer:
    """What one of several questions was answered, where ``read`` columns of its prompt were sent."""
    ttft, total = (encode_ms + row.token_ms[end] - rows.start_ms for end in (0, -1))
    more = len(row.token_ids) - 1
    return Answer(
        answer=text,
        model=rows.model.name_or_path,
        method=settings.method.name,
        mass=bool(settings.mass),
        tokens_total=prune.tokens_total,
        tokens_kept=prune.tokens_kept,
        kept=prune.kept,
        nouns=prune.nouns,
        encode_ms=encode_ms,
        select_ms=prune.select_ms,
        prefill_ms=rows.prefill_ms,
        ttft_ms=ttft,
        tpot_ms=(total - ttft) / more if more else None,
        total_ms=total,
        kv_bytes=round(rows.column_bytes * (read + more)),
        peak_bytes=None,
        notes=notes + prune.notes + rows.cut_off(row),
    )
