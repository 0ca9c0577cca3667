"""One picture, one question, two answers: with all visual tokens and with those that were kept, and what each cost."""

import weakref
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial
from threading import Event

from transformers import PreTrainedModel, ProcessorMixin

from resprune.attachment import pruned
from resprune.compare.answers import Answer, Side, Update
from resprune.compare.encoded import EncodedQuestion
from resprune.compare.generation import Generation
from resprune.errors import InputError
from resprune.images import OpenedImage, Source, checked_question, open_image
from resprune.seam import PruneResult
from resprune.settings import Settings

WARM_UP_TOKENS = 2

# Sides, without mass and with it, of which a model has had its warm-up. The first run in a process pays for kernels,
# buffers and language data that all later ones reuse; charging it to whichever happens to run first would be unfair.
_WARM: weakref.WeakKeyDictionary[PreTrainedModel, set[tuple[Side, bool]]] = weakref.WeakKeyDictionary()


def compare(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    image: Source | OpenedImage,
    question: str,
    settings: Settings,
    *,
    max_new_tokens: int = 64,
    stop: Event | None = None,
) -> Iterator[Update]:
    """Answer a question about a picture twice, first with all visual tokens, then pruned, token by token.

    The picture is encoded once. Both sides decode greedily, run one after the other, and only after a warm-up: the
    first time that a model runs a side in this process, it does so once unmeasured, on the same inputs and for
    :data:`WARM_UP_TOKENS` tokens, so that the first question of all takes longer than its figures say.

    Closing the iterator, or setting ``stop``, stops the device within one token. The model is never changed.

    Args:
        model: of a supported family, with nothing attached; one question at a time.
        processor: that belongs to it.
        image: whatever :func:`resprune.images.open_image` takes.
        question: in the user's words.
        settings: of the pruned side.
        max_new_tokens: at most, for each side.
        stop: set by another thread to stop. The side that runs then ends with the stage ``"stopped"``, without figures.

    Raises:
        InputError: if the picture, the question or the model cannot be used, or memory does not suffice.
    """
    yield from answers(model, processor, image, question, [None, settings], max_new_tokens, stop or Event())


def answer(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    image: Source | OpenedImage,
    question: str,
    settings: Settings | None = None,
    *,
    max_new_tokens: int = 64,
    stop: Event | None = None,
) -> Iterator[Update]:
    """Answer a question about a picture once: pruned, or with all visual tokens where ``settings`` is ``None``.

    Otherwise as :func:`compare`.
    """
    yield from answers(model, processor, image, question, [settings], max_new_tokens, stop or Event())


def answers(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    image: Source | OpenedImage,
    question: str,
    sides: list[Settings | None],
    max_new_tokens: int,
    stop: Event,
) -> Iterator[Update]:
    """One answer for each of ``sides``, as :func:`compare` makes its two; ``None`` keeps all visual tokens."""
    if max_new_tokens < 1:
        raise InputError(f"The answer may have {max_new_tokens} tokens; allow at least 1.")
    if getattr(model, "resprune", None) is not None:
        raise InputError("The model is attached or busy; detach it, or wait for the answer that is under way.")
    question = checked_question(question)
    opened = image if isinstance(image, OpenedImage) else open_image(image)
    side = _name(sides[0])
    yield Update(side, "encode")
    warm = _WARM.setdefault(model, set())
    cold = {kind: settings for settings in sides if (kind := _kind(settings)) not in warm}
    if cold and not stop.is_set():
        encoded = EncodedQuestion.of(model, processor, opened, question, max_new_tokens)
        for kind, settings in cold.items():
            updates = list(_side(model, processor, encoded, settings, WARM_UP_TOKENS, stop))
            if updates[-1].stage == "done":
                warm.add(kind)
    if stop.is_set():
        yield Update(side, "stopped")
        return
    encoded = EncodedQuestion.of(model, processor, opened, question, max_new_tokens)
    for settings in sides:
        if not (yield from _side(model, processor, encoded, settings, max_new_tokens, stop)):
            return


def _name(settings: Settings | None) -> Side:
    return "full" if settings is None else "pruned"


def _kind(settings: Settings | None) -> tuple[Side, bool]:
    return _name(settings), bool(settings and settings.mass)


def _side(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    encoded: EncodedQuestion,
    settings: Settings | None,
    max_new_tokens: int,
    stop: Event,
) -> Generator[Update, None, bool]:
    """Answer once; whether it came to its end."""
    side, prune, text = _name(settings), None, ""
    if stop.is_set():
        yield Update(side, "stopped")
        return False
    pruning = pruned(model, processor, **vars(settings)) if settings else nullcontext()
    yield Update(side, "select" if settings else "prefill")
    with pruning:
        # The full side uses the method of the class, which nothing that is attached to this object can change.
        generate = model.generate if settings else partial(type(model).generate, model)
        with Generation(generate, model, processor.tokenizer, encoded.inputs, max_new_tokens, stop) as generation:
            for text in generation:
                if settings and prune is None and model.resprune.last:
                    prune = model.resprune.last[0]
                    yield Update(side, "select", prune=prune)
                    yield Update(side, "prefill", prune=prune)
                if text:
                    yield Update(side, "decode", text, prune=prune)
        if settings and prune is None and not stop.is_set():
            prune = model.resprune.last[0]  # chosen inside the language model, and told at its end
    if stop.is_set():
        yield Update(side, "stopped", text, prune=prune)
        return False
    said = _answer(model, encoded, settings, prune, generation, text)
    read = encoded.inputs["input_ids"].shape[1] - (said.tokens_total - said.tokens_kept)
    yield Update(side, "done", text, said, prune, tuple(generation.token_ids), encoded, read)
    return True


def _answer(
    model: PreTrainedModel,
    encoded: EncodedQuestion,
    settings: Settings | None,
    prune: PruneResult | None,
    generation: Generation,
    text: str,
) -> Answer:
    ttft = encoded.ms + generation.token_ms[0] - generation.start_ms
    total = encoded.ms + generation.end_ms - generation.start_ms
    more = len(generation.token_ms) - 1
    cut_off = [f"The answer was cut off after {more + 1} tokens."] if generation.cut_off else []
    return Answer(
        answer=text,
        model=model.name_or_path,
        method=settings.method.name if settings else "full",
        mass=bool(settings and settings.mass),
        tokens_total=prune.tokens_total if prune else len(encoded.coords),
        tokens_kept=prune.tokens_kept if prune else len(encoded.coords),
        kept=prune.kept if prune else encoded.coords,
        nouns=prune.nouns if prune else [],
        encode_ms=encoded.ms,
        select_ms=prune.select_ms if prune else 0.0,
        prefill_ms=generation.prefill_ms,
        ttft_ms=ttft,
        tpot_ms=(total - ttft) / more if more else None,
        total_ms=total,
        kv_bytes=generation.kv_bytes,
        peak_bytes=generation.peak_bytes,
        notes=encoded.notes + (prune.notes if prune else []) + cut_off,
    )
