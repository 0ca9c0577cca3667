"""A replica's queue, without Ray: what waits is answered together, and no asker can harm another."""

import asyncio
import io
import threading
from queue import SimpleQueue

import pytest
import torch
from comparing import counted
from tiny import QUESTION, picture

from resprune.compare import Asked, answer
from resprune.serve import replica as module
from resprune.serve.batches import Batches
from resprune.serve.chat import Chat
from resprune.serve.replica import Replica
from resprune.settings import Settings

PATIENCE = 60  # seconds


def asked(number, tokens=6):
    return Asked(picture(number), QUESTION, Settings(4 + number), tokens)


def said(model, processor, number, tokens=6):
    """The answer by itself."""
    one = asked(number, tokens)
    *_, last = answer(model, processor, one.image, one.question, one.settings, max_new_tokens=tokens)
    return last.answer.answer


class Held:
    """Stops the model at the first prompt that it reads, until it is let go."""

    def __init__(self, model):
        self.reached, self.go = threading.Event(), threading.Event()
        self._hook = model.get_decoder().register_forward_pre_hook(self._wait)

    def _wait(self, *_):
        self.reached.set()
        assert self.go.wait(PATIENCE)


@pytest.mark.parametrize(("most", "runs"), [(1, [1] * 6), (4, [1, 4, 1])])
def test_what_waits_is_answered_together(most, runs, tiny):
    model, processor = tiny
    own = [said(model, processor, number) for number in range(6)]  # and a warm-up
    batches, told, held, rows = Batches(model, processor, most), SimpleQueue(), Held(model), []

    def note(_, __, arguments):
        if arguments["inputs_embeds"].shape[1] > 1:
            rows.append(len(arguments["inputs_embeds"]))

    model.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    for number in range(6):
        batches.ask(asked(number), lambda update, number=number: update.answer and told.put((number, update)))
        assert held.reached.wait(PATIENCE)  # the first is begun before the others come
    held.go.set()
    done = dict(told.get(timeout=PATIENCE) for _ in own)
    assert [done[number].answer.answer for number in range(6)] == own
    assert rows == runs


def test_an_asker_that_is_gone_ends_no_other(tiny):
    model, processor = tiny
    own = said(model, processor, 2)
    batches, told, held = Batches(model, processor, 4), SimpleQueue(), Held(model)

    def gone(_):
        raise RuntimeError("the loop is closed")

    batches.ask(asked(0), lambda update: None)
    assert held.reached.wait(PATIENCE)
    for tell in (gone, lambda update: update.answer and told.put(update), gone):
        batches.ask(asked(2), tell)
    held.go.set()
    assert told.get(timeout=PATIENCE).answer.answer == own
    batches.ask(asked(2), gone)
    batches.ask(asked(2), lambda update: update.answer and told.put(update))
    assert told.get(timeout=PATIENCE).answer.answer == own


@pytest.fixture
def replica(tiny, monkeypatch):
    """Of the tiny model, four questions at once."""
    monkeypatch.setattr(module, "load", lambda name, quantization, dtype: tiny)
    return Replica("tiny", None, torch.float32, 4)


def chat(number, tokens=6, question=QUESTION, **settings):
    file = io.BytesIO()
    picture(number).save(file, "PNG")
    return Chat(file.getvalue(), question, Settings(4 + number, **settings), tokens, True, False)


async def pieces(replica, one, leave=None):
    found = []
    answers = replica.answer(one)
    async for piece in answers:
        found.append(piece)
        if len(found) == leave:
            await answers.aclose()
            break
    return found


def test_each_stream_is_its_own_and_leaving_one_stops_it_alone(tiny, replica):
    model, processor = tiny
    tokens = [9, 200, 3, 6]

    async def ask():
        first = asyncio.create_task(pieces(replica, chat(4, 2)))
        asking = [pieces(replica, chat(n, tokens[n]), leave=2 if n == 1 else None) for n in range(4)]
        return await asyncio.wait_for(asyncio.gather(*asking), PATIENCE), await first

    with counted(model.get_decoder()) as read:
        streams, first = asyncio.run(ask())
    assert len(read) < 100  # of the 200 tokens that nobody waits for
    assert first[-1]["completion_tokens"] == 2 and len(streams[1]) == 2
    for number in (0, 2, 3):
        end = streams[number][-1]
        assert end["text"] == said(model, processor, number, tokens[number])
        assert (end["finish_reason"], end["completion_tokens"]) == ("length", tokens[number])
        assert end["resprune"]["tokens_kept"] == 4 + number
        assert all(end["text"].startswith(piece["text"]) for piece in streams[number])


def test_what_is_refused_is_refused_alone(replica):
    async def ask():
        wrong = [chat(0, protect=[99]), chat(1, 100_000)]
        return await asyncio.gather(*(pieces(replica, one) for one in [*wrong, chat(2), chat(3)]))

    bad, long, *good = asyncio.run(asyncio.wait_for(ask(), PATIENCE))
    assert "99" in bad[0]["refused"] and "room for" in long[0]["refused"]
    assert all(found[-1]["completion_tokens"] == 6 for found in good)
