"""The endpoint, with replicas that answer several questions at once: each client gets its own answer, whatever dies."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from clusters import DTYPES, workers

from resprune.compare import answer
from resprune.models import assets_dir, load
from resprune.settings import Settings

pytest.importorskip("ray", reason="Ray is an optional extra (make scale-check)")
pytest.importorskip("openai", reason="OpenAI's client is for make scale-check")

from test_serve import Server, endpoint, said

BATCH = 4
WAYS = ({"keep": 128}, {"keep": "22%", "mass": True}, {"keep": 0.5, "method": "divprune"})
# Of pictures whose answer is the same in every type of number, and so in every batch.
QUESTIONS = ("What animal is in the picture?", "Is there a cake?", "Is there a tree?")


class Batched(Server):
    """Asked about the examples, by the bundled model."""

    def ask(self, number: int, stream: bool = False, tokens: int = 32, **more: object) -> object:
        file, question, way = self.asked[number % len(self.asked)]
        return self.client.chat.completions.create(
            model=self.model,
            messages=said(file.read_bytes(), question),
            max_tokens=tokens,
            stream=stream,
            extra_body={"resprune": way},
            **more,
        )


@pytest.fixture(scope="module")
def answers() -> list[tuple[tuple, str]]:
    """Questions, and what one process says to each alone in every type in which a model may compute."""
    asked = [
        (file, question, WAYS[number % len(WAYS)])
        for number, file in enumerate(sorted((assets_dir() / "examples").glob("*.png"))[:6])
        for question in QUESTIONS
    ]
    lists = []
    for dtype in DTYPES:
        model, processor = load("bundled", dtype=dtype)
        lists.append([])
        for file, question, way in asked:
            *_, last = answer(model, processor, file, question, Settings(**way), max_new_tokens=32)
            lists[-1].append(last.answer.answer)
    known = [(one, text) for one, text, other in zip(asked, *lists, strict=True) if text == other]
    assert len(known) > len(asked) // 2 and len({text for _, text in known}) > 3
    return known


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, answers: list) -> Iterator[Batched]:
    with endpoint(tmp_path_factory.mktemp("batches"), "bundled", "--batch", str(BATCH), kind=Batched) as found:
        found.asked = [one for one, _ in answers]
        yield found


def test_each_gets_its_own_answer_streamed_or_not(server: Batched, answers: list) -> None:
    with ThreadPoolExecutor(2 * BATCH) as threads:
        said = list(threads.map(lambda number: server.text(number, number % 2 == 1), range(2 * len(answers))))
    assert [text for text, _ in said] == 2 * [text for _, text in answers]


def test_limits_are_those_of_each(server: Batched) -> None:
    limits = [1, 2, 3, 2] * 2
    with ThreadPoolExecutor(len(limits)) as threads:
        said = list(threads.map(lambda limit: server.ask(0, tokens=limit), limits))
    assert [answer.usage.completion_tokens for answer in said] == limits


def test_a_replica_killed_with_a_batch_loses_no_answer(server: Batched, answers: list) -> None:
    done, killed = [], threading.Event()
    (victim, _) = workers(server.process, "ServeReplica:resprune:Replica")

    def ask(number: int) -> tuple[str, int]:
        answer = server.text(number, stream=number % 2 == 1)
        done.append(number)
        if len(done) >= 6 and not killed.is_set():
            killed.set()
            victim.kill()
        return answer

    with ThreadPoolExecutor(3 * BATCH) as threads:
        said = list(threads.map(ask, range(4 * len(answers))))
    assert killed.is_set()
    assert [text for text, _ in said] == 4 * [text for _, text in answers]
    assert 1 <= sum(retried for _, retried in said) <= 2 * BATCH
