"""The endpoint, with two replicas, asked by OpenAI's client: what it answers, refuses, and survives."""

import base64
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import ENVIRONMENT, expected, save_pictures, save_tiny, started, workers
from PIL import Image

pytest.importorskip("ray", reason="Ray is an optional extra (make scale-check)")
openai = pytest.importorskip("openai", reason="OpenAI's client is for make scale-check")

QUESTIONS = ("What animal is in the picture?", "How many red apples are there?")
LONG, ROOM = 150, 3800  # tokens of an answer; of a very long one


class Server:
    """The endpoint, and how to ask it."""

    def __init__(self, process: subprocess.Popen, port: int, model: str, folder: Path) -> None:
        self.process, self.model = process, model
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=120)
        self.asked = [
            (file, question, keep) for file in save_pictures(folder, 2) for question in QUESTIONS for keep in (9, 20)
        ]

    def ask(self, number: int, stream: bool = False, tokens: int = LONG, **more: Any) -> Any:
        file, question, keep = self.asked[number % len(self.asked)]
        return self.client.chat.completions.create(
            model=self.model,
            messages=said(file.read_bytes(), question),
            max_tokens=tokens,
            stream=stream,
            extra_body={"resprune": {"keep": keep}},
            **more,
        )

    def text(self, number: int, stream: bool) -> tuple[str, int]:
        """The answer, and whether it was begun twice."""
        answer = self.ask(number, stream)
        if not stream:
            return answer.choices[0].message.content, answer.resprune["retried"]
        text, retried = "", None
        for chunk in answer:
            text += chunk.choices[0].delta.content or ""
            retried = getattr(chunk, "resprune", {}).get("retried", retried)
        return text, retried


def said(file: bytes, question: str) -> list[dict[str, Any]]:
    url = "data:image/png;base64," + base64.b64encode(file).decode()
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}],
        }
    ]


@contextmanager
def endpoint(folder: Path, model: str, *options: str, kind: type[Server] = Server) -> Iterator[Server]:
    """Two replicas, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    arguments = ("--model", model, "--replicas", "2", "--port", str(port), *options)
    with started("serve", *arguments, log=log) as process:
        deadline = time.monotonic() + 400
        while "answers as" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield kind(process, port, model, folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    with endpoint(folder, save_tiny(folder / "model"), "--batch", "1") as found:
        yield found


@pytest.fixture(scope="module")
def answers(server: Server) -> list[str]:
    """What one process says to all questions, in the type in which the replicas compute."""
    first = server.text(0, stream=False)[0]
    (found,) = [texts for texts in expected(server.model, server.asked, LONG) if texts[0] == first]
    return found


def test_an_answer_has_openais_form_and_our_figures(server: Server) -> None:
    assert [entry.id for entry in server.client.models.list()] == [server.model]
    answer = server.ask(0, tokens=5)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.role) == ("length", "assistant")
    assert (answer.resprune["tokens_kept"], answer.resprune["tokens_total"]) == (9, 36)
    more = server.ask(1, tokens=5)
    assert more.resprune["tokens_kept"] == 20 and more.usage.prompt_tokens == answer.usage.prompt_tokens + 11
    assert (answer.usage.completion_tokens, answer.resprune["retried"]) == (5, 0)


def test_both_replicas_answer_as_one_process_does_streamed_or_not(server: Server, answers: list[str]) -> None:
    def ask(number: int) -> str:
        return server.text(number, stream=number >= len(answers))[0]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(2 * len(answers)))) == answers * 2
    assert len(set(answers)) == len(answers)


def test_a_stream_ends_as_openais_does(server: Server) -> None:
    file, question, _ = server.asked[0]
    sent = {"model": server.model, "messages": said(file.read_bytes(), question), "max_tokens": 5, "stream": True}
    sent["stream_options"] = {"include_usage": True}
    with server.client.with_streaming_response.chat.completions.create(**sent) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 5
    assert chunks[-2]["choices"][0]["finish_reason"] == "length" and chunks[-2]["resprune"]["tokens_total"] == 36


def small(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    return file.getvalue()


def test_bad_pictures_and_questions_are_refused_and_the_next_one_is_answered(server: Server) -> None:
    def refused(picture: bytes, question: str = "Why?", **more: Any) -> str:
        with pytest.raises(openai.BadRequestError) as caught:
            server.client.chat.completions.create(
                model=server.model, messages=said(picture, question), **{"max_tokens": 5} | more
            )
        return caught.value.body["message"]

    good = server.asked[0][0].read_bytes()
    assert "no picture that can be read" in refused(b"no picture")
    assert "damaged" in refused(good[: len(good) // 2])
    assert "million" in refused(small((9000, 9000)))
    assert "strip" in refused(small((2000, 2)))
    assert "room for" in refused(good, max_tokens=100_000)
    assert "no setting 'kep'" in refused(good, extra_body={"resprune": {"kep": 1}})
    assert "99" in refused(good, extra_body={"resprune": {"indices": [99]}})
    assert "not fetched" in refused_url(server)
    with pytest.raises(openai.NotFoundError, match="no model"):
        server.client.chat.completions.create(model="gpt", messages=said(good, "Why?"))
    assert server.ask(0, tokens=5).usage.completion_tokens == 5


def refused_url(server: Server) -> str:
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Why?"}, part]}]
    with pytest.raises(openai.BadRequestError) as caught:
        server.client.chat.completions.create(model=server.model, messages=messages)
    return caught.value.body["message"]


def test_special_tokens_that_a_user_types_are_text(server: Server) -> None:
    good = server.asked[0][0].read_bytes()
    plain, typed = (
        server.client.chat.completions.create(
            model=server.model, messages=said(good, question), max_tokens=5, extra_body={"resprune": {"keep": "100%"}}
        )
        for question in ("x", "x<image></s><image>")
    )
    assert typed.resprune["tokens_total"] == plain.resprune["tokens_total"] == 36
    assert typed.usage.prompt_tokens > plain.usage.prompt_tokens + 5


def test_other_requests_get_openais_errors(server: Server) -> None:
    import httpx

    base = str(server.client.base_url)
    json_type = {"content-type": "application/json"}
    for response, status in (
        (httpx.post(base + "chat/completions", content=b"{", headers=json_type), 400),
        (httpx.post(base + "chat/completions", content=b"{}", headers={"content-type": "text/plain"}), 415),
        (httpx.post(base + "embeddings", content=b"{}", headers=json_type), 404),
        (httpx.get(base + "chat/completions"), 405),
    ):
        assert response.status_code == status and "message" in response.json()["error"]
    assert httpx.get(base.removesuffix("v1/") + "health").json() == {"status": "ok"}


def test_a_huge_body_is_refused_and_the_next_request_answered(server: Server) -> None:
    good = server.asked[0][0].read_bytes()
    with pytest.raises(openai.APIError) as caught:
        server.client.chat.completions.create(model=server.model, messages=said(good + b"0" * 70_000_000, "Why?"))
    assert caught.value.status_code == 413 and "80 MB" in caught.value.body["message"]
    assert server.ask(0, tokens=5).usage.completion_tokens == 5


def test_a_client_that_leaves_stops_its_answer(server: Server) -> None:
    whole = server.ask(0).resprune["tpot_ms"] * ROOM / 1000  # seconds that each of the two would take
    streams = [server.ask(0, stream=True, tokens=ROOM) for _ in range(2)]  # both replicas are busy
    for stream in streams:
        for _, _ in zip(range(5), stream, strict=False):
            pass
        stream.close()
    start = time.monotonic()
    assert server.ask(0, tokens=5).usage.completion_tokens == 5
    assert time.monotonic() - start < whole / 3


def test_a_replica_killed_in_the_middle_loses_no_answer(server: Server, answers: list[str]) -> None:
    numbers = range(3 * len(answers))
    done, killed = [], threading.Event()
    (victim, _) = workers(server.process, "ServeReplica:resprune:Replica")

    def ask(number: int) -> tuple[str, int]:
        answer = server.text(number, stream=number % 2 == 1)
        done.append(number)
        if len(done) >= 4 and not killed.is_set():
            killed.set()
            victim.kill()
        return answer

    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(ask, numbers))
    assert killed.is_set()
    assert [text for text, _ in said] == [answers[number % len(answers)] for number in numbers]
    assert sum(retried for _, retried in said) <= 1


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "resprune", "serve", *arguments], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_what_cannot_be_started_is_said(server: Server) -> None:
    assert "give at least 1" in refused("--replicas", "0")
    assert "questions at once is 0; give at least 1" in refused("--batch", "0")
    assert "another --port" in refused("--port", str(server.client.base_url.port))
