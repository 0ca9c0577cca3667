"""The page without a browser: its handlers, its words, and its endpoint as programs call it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from serving import ready, served, slowed
from tiny import tiny_llava

from app import asking, chart, handlers, panels
from app.figures import compared, duration, memory
from app.page import build
from app.patch_map import map_value
from app.registry import Loaded, Progress, Registry
from app.scenes import examples, new_scene
from app.session import Run, Session, Side
from app.theme import FULL, PRUNED
from resprune.errors import InputError

HOSTILE = "<img src=x onerror='hacked()'> & {{value}} ${value}"
PICTURE = examples()[0]
ROOT = Path(__file__).parents[1]


def answer(**changes) -> SimpleNamespace:
    """An answer of the full side, with round figures."""
    facts = {"answer": "a penguin", "tokens_total": 576, "tokens_kept": 576, "encode_ms": 30.0, "select_ms": 0.0}
    facts |= {"prefill_ms": 90.0, "ttft_ms": 125.0, "total_ms": 325.0, "kv_bytes": 4_000_000}
    return SimpleNamespace(**facts | changes)


def pruned(**changes) -> SimpleNamespace:
    facts = {"tokens_kept": 144, "select_ms": 10.0, "prefill_ms": 20.0, "kv_bytes": 1_000_000}
    return answer(**facts | changes)


def done(full: SimpleNamespace, pruned: SimpleNamespace) -> Run:
    run = Run()
    run.sides = {"full": Side("done", full.answer, full), "pruned": Side("done", pruned.answer, pruned)}
    return run


@pytest.fixture
def tiny_registry() -> Registry:
    """A registry whose model is a few thousand random weights with 36 visual tokens."""

    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.5, "making a tiny model")
        model, processor = tiny_llava(grid=6)
        return Loaded(model_id, model, processor, "cpu", 1)

    return ready(Registry(load=load))


# Words and figures


@pytest.mark.parametrize(
    ("full", "pruned", "said"),
    [(90, 30, ("3.0", "faster")), (30, 36, ("1.2", "slower")), (50, 49, ("1.0", "same")), (0, 5, ("1.0", "same"))],
)
def test_worse_is_said_as_plainly_as_better(full: float, pruned: float, said: tuple[str, str]) -> None:
    assert compared(full, pruned, "faster", "slower", "same") == said


def test_figures_have_units_and_three_digits_or_so() -> None:
    assert [duration(ms) for ms in (3.14, 34.4, 1240)] == ["3.1 ms", "34 ms", "1.24 s"]
    assert [memory(count) for count in (640_000, 12_345_678, 2_500_000_000)] == ["640 kB", "12.3 MB", "2.50 GB"]


def test_the_verdict_counts_selection_against_the_pruned_side() -> None:
    said = panels.verdict(done(answer(), pruned()))
    assert "<b>4.0&times;</b><span>fewer visual tokens</span>" in said
    assert "<b>3.0&times;</b><span>faster prefill, selection included</span>" in said
    assert "<b>4.0&times;</b><span>less KV memory</span>" in said
    assert "same answer" in said
    slower = panels.verdict(done(answer(), pruned(select_ms=160.0, answer="a duck")))
    assert "<b>2.0&times;</b><span>slower prefill, selection included</span>" in slower
    assert "different answer" in slower


def test_there_is_no_verdict_on_half_a_run() -> None:
    run = done(answer(), pruned())
    run.sides["pruned"] = Side("decode", "a peng")
    assert "&times;" not in panels.verdict(run)


def test_what_users_and_models_write_never_becomes_markup() -> None:
    said = [
        panels.panel("full", Side("done", HOSTILE, answer(answer=HOSTILE))),
        panels.nouns([HOSTILE], [HOSTILE]),
        panels.message(HOSTILE),
        panels.model_status(HOSTILE, Progress(0.5, HOSTILE), None, None),
        panels.model_status(HOSTILE, Progress(0.5, HOSTILE), None, HOSTILE),
    ]
    for html in said:
        assert "<img" not in html
        assert "&lt;img" in html


def test_the_chart_adds_up_to_each_sides_total_in_its_own_colour() -> None:
    full, less = answer(), pruned(total_ms=200.0)
    figure = chart.times(full, less)
    bars = [trace for trace in figure.data if trace.showlegend is False]
    assert [trace.name for trace in bars] == ["encode", "select", "prefill", "decode"]
    assert sum(trace.x[0] for trace in bars) == pytest.approx(less.total_ms)
    assert sum(trace.x[1] for trace in bars) == pytest.approx(full.total_ms)
    for colour, row in ((PRUNED, 0), (FULL, 1)):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert all(trace.marker.color[row].startswith(f"rgba({red}, {green}, {blue}") for trace in bars)


def test_the_map_has_a_box_and_a_place_in_the_order_for_each_patch(tiny) -> None:
    _, processor = tiny
    coords = np.stack([np.zeros(36, int), *np.divmod(np.arange(36), 6)], 1)
    import torch

    prune = SimpleNamespace(order=torch.arange(36).flip(0), coords=torch.from_numpy(coords), tokens_kept=9)
    value = map_value(Image.new("RGB", (2000, 1000), "red"), prune, processor)
    assert value["size"] == [2000, 1000]
    assert value["order"] == list(range(36))[::-1]
    assert value["kept"] == 9
    assert value["boxes"][0] == pytest.approx([500, 0, 500 + 1000 / 6, 1000 / 6], abs=1)
    assert value["src"].startswith("data:image/jpeg;base64,")
    assert len(value["src"]) < 20_000, "the picture is sent no larger than it is drawn"


def test_six_examples_and_a_new_scene_come_with_a_question() -> None:
    assert len(examples()) == 6
    assert all(example.path.is_file() and example.question.endswith("?") for example in examples())
    image, question = new_scene()
    assert image.size == (336, 336)
    assert question.endswith("?")


# Handlers


def asked(registry: Registry, picture: Path | None, question: str, budget: int = 9) -> list[handlers.Shown]:
    session = Session()
    handlers.begin(session)
    return list(handlers.ask(registry, picture and str(picture), question, budget, session))


def changes(shown: list[handlers.Shown], output: str) -> list:
    return [getattr(s, output) for s in shown if getattr(s, output) is not handlers.SAME]


def test_a_question_changes_each_output_as_rarely_as_it_can(tiny_registry: Registry) -> None:
    shown = asked(tiny_registry, PICTURE.path, "What animal is it?")
    (drawn,) = changes(shown, "patch_map")
    assert len(drawn["order"]) == 36
    assert drawn["kept"] == 9
    (found,) = changes(shown, "nouns")
    assert "animal" in found
    assert len(changes(shown, "verdict")) == len(changes(shown, "chart")) == 1
    assert 'data-stage="done"' in changes(shown, "full")[-1]
    assert 'data-stage="done"' in changes(shown, "pruned")[-1]
    assert changes(shown, "ask")[-1]["interactive"] is True


def test_notes_of_the_picture_and_of_the_pruning_are_shown(tiny_registry: Registry, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (said,) = changes(asked(tiny_registry, tmp_path / "moving.gif", "Why?", 1000), "nouns")
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
    going = handlers.ask(tiny_registry, str(PICTURE.path), "What is it?", 9, session)
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
    going = handlers.ask(tiny_registry, str(PICTURE.path), "What is it?", 9, session)
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


# The model


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

    going = handlers.ask(Registry(load=load), str(PICTURE.path), "What is it?", 9, Session())
    assert "the model is loading (40%), you are next" in next(going).full
    go_on.set()
    assert changes(list(going), "verdict")


def test_a_model_that_cannot_be_loaded_is_named_to_all_who_ask() -> None:
    def load(model_id: str) -> Iterator[Progress]:
        yield Progress(0.4, "reading the weights")
        raise InputError(f"There is no model {model_id!r}.")

    registry = Registry("nonsense", load)
    (told,) = changes(asked(registry, PICTURE.path, "What is it?"), "message")
    assert "The model could not be loaded: There is no model" in told
    assert "There is no model" in panels.model_status("nonsense", registry.progress, None, registry.failure)


# The endpoint


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def address(registry: Registry) -> Iterator[str]:
    with served(registry) as found:
        ready(registry)
        yield found


def call(address: str, picture: Path, question: str = PICTURE.question, keep: str = "128"):
    return Client(address, verbose=False).submit(handle_file(picture), question, keep, api_name="/compare")


def test_only_the_comparison_is_public_and_its_values_are_named() -> None:
    api = build(Registry()).get_api_info()
    assert list(api["named_endpoints"]) == ["/compare"]
    assert api["unnamed_endpoints"] == {}
    endpoint = api["named_endpoints"]["/compare"]
    assert [p["parameter_name"] for p in endpoint["parameters"]] == ["image", "question", "keep"]
    assert [r["label"] for r in endpoint["returns"]][:2] == [
        "Answer with all visual tokens",
        "Answer with the kept tokens",
    ]
    assert "ResPrune keeps" in endpoint["description"]


def test_both_answers_stream_and_end_with_the_figures(address: str) -> None:
    job = call(address, PICTURE.path, keep="25%")
    full, pruned, figures = job.result(timeout=120)
    assert full and pruned
    assert figures["full"]["answer"] == full
    assert figures["pruned"]["answer"] == pruned
    assert figures["same_answer"] == (full == pruned)
    assert figures["full"]["tokens_kept"] == 576
    assert figures["pruned"]["tokens_kept"] == len(figures["pruned"]["kept"]) == 144
    partial = job.outputs()
    assert len(partial) > 3
    assert any(full.startswith(text) and not other for text, other, _ in partial if text)


@pytest.mark.parametrize(
    ("content", "question", "keep", "said"),
    [
        (b"no picture", "What is it?", "128", "no picture"),
        (PICTURE.path.read_bytes(), "", "128", "empty"),
        *((PICTURE.path.read_bytes(), "What is it?", keep, "budget") for keep in ("0", "-3", "101%", "nan", "abc")),
    ],
)
def test_a_bad_request_gets_one_sentence_and_the_next_an_answer(
    address: str, tmp_path: Path, content: bytes, question: str, keep: str, said: str
) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(AppError, match=said):
        call(address, tmp_path / "picture.png", question, keep).result(timeout=60)
    with pytest.raises(AppError, match=said):  # and it still runs
        call(address, tmp_path / "picture.png", question, keep).result(timeout=60)


def test_the_answer_after_a_bad_request(address: str, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"no picture")
    with pytest.raises(AppError):
        call(address, tmp_path / "picture.png").result(timeout=60)
    assert call(address, PICTURE.path).result(timeout=120)[2]


def test_two_users_at_once_get_each_their_own(address: str) -> None:
    first = call(address, examples()[0].path, "What animal is in the picture?", "64")
    second = call(address, examples()[1].path, "How many cars are there?", "200")
    one, other = first.result(timeout=120)[2], second.result(timeout=120)[2]
    assert (one["pruned"]["tokens_kept"], other["pruned"]["tokens_kept"]) == (64, 200)
    assert "animal" in one["pruned"]["nouns"]
    assert "cars" in other["pruned"]["nouns"]


def test_cancelling_frees_the_device(address: str, registry: Registry) -> None:
    with slowed(registry, 0.4) as began:
        job = call(address, PICTURE.path)
        while len(began) < 3:
            time.sleep(0.05)
        job.cancel()
        cancelled = time.monotonic()
        with registry.lend():
            assert time.monotonic() - cancelled < 2
        count = len(began)
        time.sleep(1)
        assert len(began) == count
    assert call(address, PICTURE.path).result(timeout=120)[2]


def test_an_upload_beyond_the_limit_is_refused(address: str) -> None:
    upload = {"files": ("large.png", b"\0" * 53_000_000)}
    response = httpx.post(f"{address}gradio_api/upload", files=upload, timeout=60)
    assert response.status_code == 413


# The program


def test_the_program_serves_the_page_where_the_environment_says(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PORT": str(port)}
    program = subprocess.Popen([sys.executable, ROOT / "app.py"], cwd=tmp_path, env=environment)
    try:
        answer = None
        for _ in range(600):
            with suppress(httpx.ConnectError):
                answer = httpx.get(f"http://127.0.0.1:{port}/")
                break
            assert program.poll() is None, "the program has ended"
            time.sleep(0.1)
        assert answer is not None and answer.status_code == 200
        assert "ResPrune" in answer.text
    finally:
        program.terminate()
        program.wait(30)


def test_a_port_that_is_none_is_named() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "app.py"], env=os.environ | {"PORT": "abc"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "PORT is 'abc'; give a number such as 7860."
