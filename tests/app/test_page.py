"""What the page does on each click, on a tiny model and without a server."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from serving import own_defaults, ready, small_registry
from tiny import tiny_llava

from app import asking, handlers, model_choice, panels
from app.failures import Refused
from app.registry import Loaded, Progress, Registry
from app.scenes import examples
from app.session import Session
from resprune.errors import InputError

PICTURE = examples()[0]


@pytest.fixture
def tiny_registry() -> Registry:
    """One of the test's own, which it may spoil."""
    return small_registry(grid=6)


def options(budget: int = 9, length: int = 8) -> list:
    """Values as the page's components give them."""
    return [budget, True, "resprune", "original", length, *own_defaults()]


def asked(
    registry: Registry, picture: Path | None, question: str, budget: int = 9, session: Session | None = None
) -> list[handlers.Shown]:
    session = session or Session()
    handlers.begin(session)
    return list(handlers.ask(registry, picture and str(picture), question, session, *options(budget)))


def changes(shown: list[handlers.Shown], output: str) -> list:
    return [getattr(s, output) for s in shown if getattr(s, output) is not handlers.SAME]


def test_a_question_changes_each_output_as_rarely_as_it_can(tiny_registry: Registry) -> None:
    session = Session()
    shown = asked(tiny_registry, PICTURE.path, "What animal is it?", session=session)
    (drawn,) = changes(shown, "patch_map")
    assert len(drawn["order"]) == 36
    assert drawn["kept"] == drawn["order"][:9]
    assert "animal" in drawn["relevance"]
    for output in ("verdict", "times", "memory", "energy"):
        assert len(changes(shown, output)) == 1, output
    waiting, differ = changes(shown, "differences")
    assert 'aria-busy="true"' in waiting
    assert differ.count("<li") == len(session.record["differences"]) == 8
    assert 'data-stage="done"' in changes(shown, "full")[-1]
    assert 'data-stage="done"' in changes(shown, "pruned")[-1]
    assert changes(shown, "ask")[-1]["interactive"] is True


def test_the_map_and_the_differences_come_after_both_answers_so_that_they_take_no_time_from_them(
    tiny_registry: Registry,
) -> None:
    shown = asked(tiny_registry, PICTURE.path, "What animal is it?")
    stages = [s.pruned for s in shown if s.pruned is not handlers.SAME]
    assert 'data-stage="done"' in stages[-1]
    last = max(n for n, s in enumerate(shown) if s.pruned is stages[-1])
    assert all(s.patch_map is handlers.SAME and s.differences is handlers.SAME for s in shown[: last + 1])


def test_the_patches_chosen_by_hand_are_exactly_those_of_the_answer(tiny_registry: Registry) -> None:
    session = Session()
    asked(tiny_registry, PICTURE.path, "What animal is it?", session=session)
    before = session.record["map"]
    handlers.clicked(session, SimpleNamespace(_data={"indices": [30, 3, 17]}))
    shown = list(handlers.ask(tiny_registry, str(PICTURE.path), "What animal is it?", session, *options()))
    (drawn,) = changes(shown, "patch_map")
    assert sorted(drawn["kept"]) == [3, 17, 30]
    assert set(drawn["owner"]) - {None} == {3, 17, 30}
    assert drawn["order"] == before["order"], "the order that the slider shows is still the method's"
    assert session.record["pruned"]["method"] == "manual"
    assert session.record["pruned"]["tokens_kept"] == 3
    asked(tiny_registry, PICTURE.path, "What animal is it?", session=session)
    assert session.record["pruned"]["tokens_kept"] == 9, "the next question goes by the budget again"


@pytest.mark.parametrize("given", [[36], [-1], ["<b>", None], "12", None, {"a": 1}])
def test_what_a_tampered_click_names_is_refused_or_ignored(tiny_registry: Registry, given: object) -> None:
    session = Session()
    handlers.clicked(session, SimpleNamespace(_data={"indices": given}))
    shown = list(handlers.ask(tiny_registry, str(PICTURE.path), "What is it?", session, *options()))
    assert bool(changes(shown, "verdict")) != bool(changes(shown, "message"))
    assert changes(asked(tiny_registry, PICTURE.path, "What is it?"), "verdict")


def test_a_record_shows_the_same_page_again_and_survives_json(tiny_registry: Registry) -> None:
    session = Session()
    shown = asked(tiny_registry, PICTURE.path, "What animal is it?", session=session)
    again = handlers.show(json.loads(json.dumps(session.record)))
    for output in ("full", "pruned", "verdict", "patch_map", "differences"):
        assert getattr(again, output) == changes(shown, output)[-1], output
    assert again.times.to_json() == changes(shown, "times")[-1].to_json()
    assert again.energy.to_json() == changes(shown, "energy")[-1].to_json()


def test_notes_of_the_picture_and_of_the_pruning_are_shown(tiny_registry: Registry, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (said,) = changes(asked(tiny_registry, tmp_path / "moving.gif", "Why?", 1000), "notes")
    assert "only the first one is used" in said
    assert "No noun in the question" in said
    assert "all are kept" in said


@pytest.mark.parametrize(
    ("content", "question", "said"),
    [
        (None, "What is it?", "no picture yet"),
        (b"no picture", "What is it?", "no picture that can be read"),
        (PICTURE.path.read_bytes()[:2000], "What is it?", "damaged or cut short"),
        (PICTURE.path.read_bytes(), "  ", "question is empty"),
        (PICTURE.path.read_bytes(), "a" * 100_000, "100,000 characters"),
    ],
)
def test_bad_input_is_named_and_the_next_question_answered(
    tiny_registry: Registry, tmp_path: Path, content: bytes | None, question: str, said: str
) -> None:
    path = None
    if content is not None:
        path = tmp_path / "picture.png"
        path.write_bytes(content)
    shown = asked(tiny_registry, path, question)
    (told,) = changes(shown, "message")
    assert said in told
    assert str(tmp_path) not in told, "a message names no folder of the server"
    assert changes(shown, "ask")[-1]["interactive"] is True
    assert 'data-stage="done"' in changes(asked(tiny_registry, PICTURE.path, "What is it?"), "pruned")[-1]


def test_an_error_of_the_program_is_logged_not_shown(tiny_registry: Registry, monkeypatch, caplog) -> None:
    monkeypatch.setattr("resprune.compare.compare", lambda *_, **__: 1 / 0)
    (told,) = changes(asked(tiny_registry, PICTURE.path, "What is it?"), "message")
    assert "its log says what" in told
    assert "division" not in told
    assert "ZeroDivisionError" in caplog.text


def test_out_of_memory_is_said_in_words(tiny_registry: Registry, monkeypatch) -> None:
    def exhausted(*_, **__) -> None:
        raise MemoryError

    monkeypatch.setattr("resprune.compare.compare", exhausted)
    (told,) = changes(asked(tiny_registry, PICTURE.path, "What is it?"), "message")
    assert "out of memory" in told


def test_stop_ends_both_sides_and_keeps_what_was_answered(tiny_registry: Registry) -> None:
    session = Session()
    handlers.begin(session)
    going = handlers.ask(tiny_registry, str(PICTURE.path), "What is it?", session, *options(length=200))
    while session.run.sides["full"].stage != "decode":
        next(going)
    shown = handlers.stop(session)
    assert 'data-stage="stopped"' in shown.full
    assert 'data-stage="stopped"' in shown.pruned
    rest = list(going)
    assert not changes(rest, "verdict")
    assert changes(asked(tiny_registry, PICTURE.path, "What is it?"), "verdict")


def test_closing_the_iterator_gives_the_model_back(tiny_registry: Registry) -> None:
    session = Session()
    going = handlers.ask(tiny_registry, str(PICTURE.path), "What is it?", session, *options(length=200))
    while session.run is None or session.run.sides["full"].stage != "decode":
        next(going)
    going.close()
    assert session.run.stop.is_set()
    assert changes(asked(tiny_registry, PICTURE.path, "What is it?"), "verdict")


def test_a_second_click_changes_nothing_while_the_first_is_answered() -> None:
    session = Session()
    handlers.begin(session)
    run = session.run
    assert handlers.begin(session) == handlers.Shown()
    assert session.run is run
    handlers.stop(session)
    assert handlers.begin(session) != handlers.Shown()


def test_a_full_queue_is_said_but_a_stopped_question_needs_no_words() -> None:
    session = Session()
    handlers.begin(session)
    assert "Too many questions" in handlers.refused(session).message
    handlers.begin(session)
    handlers.stop(session)
    assert handlers.refused(session) == handlers.Shown()


def test_each_tab_is_a_session_of_its_own() -> None:
    first = Session()
    handlers.begin(first)
    second = deepcopy(first)
    assert second.run is None
    handlers.stop(second)
    assert first.running


def test_a_growing_text_changes_at_most_every_fifty_milliseconds() -> None:
    words = [SimpleNamespace(stage="decode", text=str(n)) for n in range(40)]
    end = SimpleNamespace(stage="done", text="all")

    def stream() -> Iterator[SimpleNamespace]:
        for word in words:
            time.sleep(0.005)
            yield word
        yield end

    kept = list(asking.paced(stream()))
    assert kept[0] is words[0]
    assert kept[-1] is end
    assert 2 <= len(kept) - 1 <= 12
    assert len(list(asking.paced(stream(), every=0))) == 41, "the same stream without the limit"


def test_one_request_at_a_time_has_the_model(tiny_registry: Registry) -> None:
    had, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with tiny_registry.lend():
            had.set()

    with tiny_registry.lend():
        thread = threading.Thread(target=other)
        thread.start()
        assert not had.wait(0.2)
    thread.join(5)
    assert had.is_set()
    go_on.set()


def test_a_question_waits_for_the_model_and_says_so() -> None:
    go_on = threading.Event()

    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.4, "reading the weights")
        go_on.wait(10)
        return Loaded(model_id, *tiny_llava(grid=6), "cpu", 1)

    going = handlers.ask(Registry(load=load), str(PICTURE.path), "What is it?", Session(), *options())
    assert "waiting for the model, 40%" in next(going).full
    go_on.set()
    assert changes(list(going), "verdict")


def test_a_model_that_cannot_be_loaded_is_named_to_all_who_ask() -> None:
    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.4, "reading the weights")
        raise InputError(f"There is no model {model_id!r}.")

    registry = Registry("nonsense", load)
    (told,) = changes(asked(registry, PICTURE.path, "What is it?"), "message")
    assert "The model could not be loaded: There is no model" in told
    assert "There is no model" in panels.model_status(registry)


def test_another_model_takes_the_place_of_the_first_once_it_is_there(tiny_registry: Registry) -> None:
    first = tiny_registry.loaded
    tiny_registry.choose("another")
    with pytest.raises(Refused, match="wait"):
        while tiny_registry.busy:
            tiny_registry.choose("third")
    while tiny_registry.busy:
        time.sleep(0.01)
    assert tiny_registry.loaded.id == tiny_registry.model_id == "another"
    assert sum(p.numel() for p in first.model.parameters()) == 0, "the memory of the first is free"
    assert changes(asked(tiny_registry, PICTURE.path, "What is it?"), "verdict")


def test_a_model_that_fails_to_load_leaves_the_one_that_answers() -> None:
    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.5, "reading the weights")
        if model_id == "broken":
            raise InputError("It does not fit.")
        return Loaded(model_id, *tiny_llava(grid=6), "cpu", 1)

    registry = ready(Registry("good", load))
    registry.choose("broken")
    while registry.busy:
        time.sleep(0.01)
    assert "It does not fit. good goes on answering." in panels.model_status(registry)
    assert registry.model_id == "good"
    assert changes(asked(registry, PICTURE.path, "What is it?"), "verdict")


def test_a_visitor_can_only_choose_models_that_are_listed(tiny_registry: Registry, monkeypatch) -> None:
    def said(model_id: str) -> str:
        async def run() -> list:
            return [shown async for shown in model_choice.choose(tiny_registry, model_id, "")]

        return asyncio.run(run())[0][0]

    assert "cannot load that model" in said("/etc")
    monkeypatch.setenv("SPACE_ID", "somebody/resprune")
    assert "cannot load that model" in said("bundled")
    assert not tiny_registry.busy
