"""Asking twice, and watching what a model is given meanwhile."""

import threading
from contextlib import contextmanager

from tiny import QUESTION, picture

from resprune.compare.comparison import compare
from resprune.settings import Settings

FEW = Settings(keep=4)
KEYS = ["answer", "model", "method", "mass", "tokens_total", "tokens_kept", "kept", "nouns", "encode_ms", "select_ms"]
KEYS += ["prefill_ms", "ttft_ms", "tpot_ms", "total_ms", "kv_bytes", "peak_bytes", "notes"]


def ask(model, processor, question=QUESTION, settings=FEW, image=None, tokens=8, **options):
    """Both answers."""
    image = picture() if image is None else image
    updates = list(compare(model, processor, image, question, settings, max_new_tokens=tokens, **options))
    return tuple(update.answer for update in updates if update.stage == "done")


@contextmanager
def counted(module):
    """The lengths of what a module is given, call by call."""
    calls = []

    def note(_, __, arguments):
        states = arguments.get("inputs_embeds")
        calls.append(states.shape[1] if states is not None else None)

    hook = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


@contextmanager
def clean(model):
    """The model leaves the block as it came in: nothing attached, no hook, no thread at work."""
    decoder = model.get_decoder()
    before = [dict(part) for part in (vars(model), decoder._forward_hooks, decoder._forward_pre_hooks)]
    yield
    assert [dict(part) for part in (vars(model), decoder._forward_hooks, decoder._forward_pre_hooks)] == before
    assert not [thread for thread in threading.enumerate() if thread.name == "generate"]
