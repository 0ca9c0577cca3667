"""The page as programs meet it: its public endpoint, and the process that serves it."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from serving import slowed

from app.page import build
from app.registry import Registry
from app.scenes import examples

PICTURE = examples()[0]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def call(address: str, picture: Path, question: str = PICTURE.question, keep: str = "128"):
    return Client(address, verbose=False).submit(handle_file(picture), question, keep, api_name="/compare")


def test_the_comparisons_values_are_named_as_on_the_command_line() -> None:
    api = build(Registry()).get_api_info()
    assert api["unnamed_endpoints"] == {}
    endpoint = api["named_endpoints"]["/compare"]
    assert [p["parameter_name"] for p in endpoint["parameters"]][:3] == ["image", "question", "keep"]
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
