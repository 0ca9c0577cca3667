"""ZeroGPU: what there is in its place elsewhere, and that all that is computed goes through its decorator there.

``python -m checks.zerogpu`` runs the page with the true package.
"""

import importlib
import pickle
import sys
import threading
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from serving import own_defaults

from app import asking, zerogpu
from app.asking import Options
from app.failures import Refused
from app.registry import Loaded, Registry
from app.sweep import handlers as sweep
from resprune.device.clock import Span
from resprune.errors import InputError
from resprune.models.hub import assets_dir

CAKE = str(assets_dir() / "examples" / "cake.png")
QUESTION = "What animal is in the picture?"


@pytest.fixture
def lender(monkeypatch):
    """A package ``spaces`` that notes what it decorates and how long it lends; everything passes through a pickle."""
    noted = SimpleNamespace(decorated=[], lent=[])

    def gpu(duration):
        def decorate(work):
            noted.decorated.append(work.__name__)

            def lending(*given):
                noted.lent.append((given[0].__name__, duration(*given)))
                yield from (pickle.loads(pickle.dumps(sent)) for sent in work(*pickle.loads(pickle.dumps(given))))

            return lending

        return decorate

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    yield importlib.reload(zerogpu), noted
    monkeypatch.undo()
    importlib.reload(zerogpu)


@pytest.fixture
def registry(lender):
    """A registry as ``app.py`` makes it there."""
    made = Registry("bundled", lender[0].load_model)
    made.start_here()
    assert made.failure is None
    return made


def test_elsewhere_nothing_is_wrapped(monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)  # as if it were not installed
    try:
        absent = importlib.reload(zerogpu)
        assert absent.on_gpu(len) is len
        monkeypatch.setenv("SPACES_ZERO_GPU", "true")
        assert not absent.active()
    finally:
        monkeypatch.undo()
        importlib.reload(zerogpu)
    given = []
    loaded = Loaded("id", "model", "processor", "cpu", 1)
    loaded.run(lambda *all_of, **options: given.append((all_of, options)), 1, stop=None)
    assert given == [(("model", "processor", 1), {"stop": None})]


def test_an_installed_package_elsewhere_changes_nothing(lender, monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert not lender[0].active()


def test_answers_differences_and_sweeps_are_computed_on_the_lent_card(registry, lender):
    stop = threading.Event()
    with asking.request(registry, CAKE, QUESTION, Options(keep=64, mass=True, max_new_tokens=8), stop) as request:
        updates = list(request.updates())
        changes = request.differences()
    assert [u.side for u in updates if u.stage == "done"] == ["full", "pruned"]
    assert all(u.prune is None for u in updates if u.stage == "decode")  # megabytes that nobody reads
    assert request.done["pruned"].answer.select_ms > 0
    assert len(changes) == len(request.done["full"].token_ids)
    options = [64, False, "resprune", "original", 8, *own_defaults()]
    shown = list(sweep.sweep(registry, CAKE, QUESTION, sweep.State(), ["random"], "16", 1, *options))
    assert "Random" in shown[-2].table
    assert lender[1].decorated == ["work"]
    assert lender[1].lent == [("compare", 60), ("differences", 60), ("sweep", 120)]


def test_the_lent_card_gives_the_same_answers(registry):
    here = Registry("bundled")
    list(here.wait())
    answers = []
    for one in (registry, here):
        with asking.request(one, CAKE, QUESTION, Options(keep=32, max_new_tokens=8), threading.Event()) as request:
            list(request.updates())
            answers.append([update.answer.answer for update in request.done.values()])
            answers[-1].append([change.pruned for change in request.differences()])
    assert answers[0] == answers[1]


def test_errors_come_back_as_sentences(registry):
    with (
        asking.request(registry, CAKE, "Is it so? " * 390, Options(max_new_tokens=8), threading.Event()) as request,
        pytest.raises(InputError, match="shorten the question"),
    ):
        list(request.updates())


def test_a_card_that_is_not_to_be_had_is_told(lender):
    def none_left(task, sent):
        raise gr.Error("You have exceeded your quota.")
        yield

    borrowing = lender[0].Borrowing("id", None, None, "cuda", 1, None, none_left)
    with pytest.raises(Refused, match=r"could not be had: You have exceeded your quota\."):
        list(borrowing.run(_endless))


def test_stop_ends_the_loan():
    closed = []

    def work(task, sent):
        try:
            for number in range(100):
                yield zerogpu._written(number)
        finally:
            closed.append(number)

    stop, seen = threading.Event(), []
    for number in zerogpu.Borrowing("id", None, None, "cuda", 1, None, work).run(_endless, stop=stop):
        seen.append(number)
        if number == 3:
            stop.set()
    assert (seen, closed) == ([0, 1, 2, 3], [4])


def test_a_measured_time_can_be_sent():
    span = Span(torch.device("cpu")).end()
    assert pickle.loads(pickle.dumps(span)).ms == span.ms


def _endless(model, processor, stop):
    yield
