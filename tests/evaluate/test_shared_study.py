"""A study shared among processes and workers: the rows of one process, each once, whatever is killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import DTYPES, ENVIRONMENT, save_pictures, save_tiny, started, workers

from resprune.cluster import Share, _share
from resprune.errors import InputError
from resprune.evaluate.processes import launched
from resprune.evaluate.replies import Replies
from resprune.evaluate.sets import QuestionFile
from resprune.evaluate.study import ROWS, Folder, key_of, run, ways
from resprune.models.loading import load

SCENES, QUESTIONS = 8, ("What animal is this?", "How many apples?", "Is there a tree?")
METHODS = ("resprune", "random")


class Study:
    """A small model and questions, and the rows of one process in each type in which a model may compute."""

    def __init__(self, folder: Path) -> None:
        self.model, self.questions = save_tiny(folder / "model"), folder / "questions.jsonl"
        lines = [
            {"image": file.name, "question": question, "answers": ["a"]}
            for file in save_pictures(folder, SCENES)
            for question in QUESTIONS
        ]
        self.questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
        tries = ways(METHODS, [9], 2)
        self.expected = []
        for dtype in DTYPES:
            path = folder / str(dtype)
            run(Replies(*load(self.model, dtype=dtype)), list(QuestionFile(self.questions)), tries, Folder(path, {}))
            self.expected.append(known(path))

    def arguments(self, out: Path) -> list[str]:
        options = f"--method {','.join(METHODS)} --keep 9 --seeds 2 --json"
        return ["evaluate", "--set", str(self.questions), "--model", self.model, *options.split(), "--out", str(out)]


def known(path: Path) -> dict[tuple, dict]:
    """The rows of a folder without their times; each must be there once."""
    rows = [json.loads(line) for line in (path / ROWS).read_text(encoding="utf-8").split("\n") if line]
    found = {key_of(row): {k: v for k, v in row.items() if not k.endswith("_ms")} for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


def test_both_types_answer_differently(study: Study) -> None:
    """So that a worker in another type would be found."""
    assert study.expected[0] != study.expected[1] and len(study.expected[0]) == SCENES * len(QUESTIONS) * 4


def test_two_processes_of_accelerate_share_a_study(study: Study, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "resprune"]
    out = tmp_path / "out"
    done = subprocess.run([*launch, *study.arguments(out)], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert known(out) in study.expected
    assert json.loads(done.stdout)["full"]["questions"] == SCENES * len(QUESTIONS)  # one of them reports
    assert sorted(file.name for file in out.iterdir()) == ["report.json", ROWS, "study.json"]


def test_rows_that_killed_processes_left_are_taken_over_once(study: Study, tmp_path: Path) -> None:
    rows = list(study.expected[0].values())
    folder = Folder(tmp_path, {})
    folder.add(rows[:3])
    lines = [json.dumps(row) + "\n" for row in rows[2:6]]
    (tmp_path / "rows-1.jsonl").write_text("".join(lines) + lines[0][:9])  # one is there already, one is torn
    assert Folder(tmp_path, {}).rows() == rows[:6]
    assert not (tmp_path / "rows-1.jsonl").exists()


def test_an_answer_may_hold_any_line_end(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {})
    row = {"question": 0, "method": "full", "keep": "None", "seed": 0, "answer": "a\x85b\u2028c\x0bd\ne"}
    folder.add([row])
    assert folder.rows() == [row]


@pytest.mark.parametrize(
    ("environment", "found"),
    [({}, (0, 1)), ({"RANK": "1", "WORLD_SIZE": "3"}, (1, 3)), ({"RANK": "x", "WORLD_SIZE": "3"}, (0, 1))],
)
def test_a_launcher_is_known_by_its_environment(
    environment: dict[str, str], found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == found


@pytest.mark.parametrize(
    ("nodes", "count", "share"),
    [
        ([{"CPU": 8.0}], 2, Share(4, 0)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 3, Share(1, 0)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, Share(3, 0)),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], 2, Share(1, 1)),
    ],
)
def test_workers_share_a_cluster(nodes: list[dict[str, float]], count: int, share: Share) -> None:
    assert _share(nodes, count) == share


def test_a_cluster_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="3 cores for 4 workers"):
        _share([{"CPU": 3.0}], 4)
    with pytest.raises(InputError, match="1 GPUs for 2 workers"):
        _share([{"CPU": 8.0, "GPU": 1.0}], 2)


def failed(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "resprune", "evaluate", "--scenes", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def test_what_cannot_be_shared_is_said(tmp_path: Path) -> None:
    assert "give it a folder with --out" in failed("--ray", "local")
    assert "give it a folder with --out" in failed(RANK="0", WORLD_SIZE="2")
    assert "belongs to --ray" in failed("--workers", "2", "--out", str(tmp_path))
    without = tmp_path / "without"
    without.mkdir()
    (without / "ray.py").write_text("raise ImportError")
    path = os.pathsep.join([str(without), str(Path(__file__).parents[1])])
    assert "Ray is not installed; install it" in failed("--ray", "local", "--out", str(tmp_path / "a"), PYTHONPATH=path)


class TestRay:
    """What needs Ray."""

    @pytest.fixture(autouse=True)
    def needs_ray(self) -> None:
        pytest.importorskip("ray", reason="Ray is an optional extra (make scale-check)")

    def test_a_cluster_that_is_none_is_said(self, tmp_path: Path) -> None:
        out = ("--out", str(tmp_path))
        assert "no Ray cluster at '127.0.0.1:1'" in failed("--ray", "127.0.0.1:1", *out)
        assert "address of Ray is 'nonsense'" in failed("--ray", "nonsense", *out)
        assert "give at least 1" in failed("--ray", "local", "--workers", "0", *out)

    @pytest.mark.parametrize("kill", [False, True])
    def test_two_workers_give_the_rows_of_one_process(self, kill: bool, study: Study, tmp_path: Path) -> None:
        out, log = tmp_path / "out", tmp_path / "log"
        arguments = [*study.arguments(out), "--ray", "local", "--workers", "2"]
        killed = False
        with started(*arguments, log=log) as process:
            while process.poll() is None:
                found = workers(process, "MapWorker") if kill and not killed and (out / ROWS).exists() else []
                if found:
                    found[0].kill()
                    killed = True
                time.sleep(0.02)
            assert process.returncode == 0, log.read_text()
            report = json.load(process.stdout)
        assert killed == kill
        assert known(out) in study.expected
        assert report["full"]["questions"] == SCENES * len(QUESTIONS)
