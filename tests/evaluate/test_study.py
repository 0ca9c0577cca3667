"""Studies: nothing is lost or asked twice by a kill, and the figures are those of the rows, worked out by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tiny import tiny_llava

from resprune.commands.evaluate import _readable_study
from resprune.errors import InputError
from resprune.evaluate import replies as replies_module
from resprune.evaluate.examples import Example
from resprune.evaluate.replies import Replies, Reply
from resprune.evaluate.sets import emoji_test
from resprune.evaluate.statistics import compared
from resprune.evaluate.study import FULL, ROWS, Folder, Way, answered, key_of, run, ways
from resprune.models.loading import load
from resprune.settings import Settings

PLAN = {"set": "made up", "keep": ["16", "8"]}
BLANK = Image.new("RGB", (8, 8))


def examples(scenes: int = 4) -> list[Example]:
    """Two questions a picture, the right answer of one is yes and of the other no."""
    return [Example(i // 2, BLANK, f"kind {i % 2}", f"q{i}", ("Yes." if i % 2 else "No.",)) for i in range(2 * scenes)]


class Fake:
    """All tokens answer rightly; methods say yes to everything, but one says no."""

    def __init__(self, dies_after: int = 10**9) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.dies_after = dies_after

    def to(self, example: Example, settings: Settings | None = None) -> Reply:
        if len(self.asked) == self.dies_after:
            raise KeyboardInterrupt
        self.asked.append((example.question, settings))
        if settings is None:
            return Reply(f" {example.answers[0]}", 576, 0.0, 9.0)
        return Reply("No." if settings.method.name == "divprune" else "Yes.", settings.keep, 1.0, 3.0)

    def to_all(self, asked: list[tuple[Example, Settings | None]]) -> list[Reply]:
        return [self.to(*one) for one in asked]


def rows_of(folder: Path) -> Iterator[tuple]:
    for line in (folder / ROWS).read_text().splitlines():
        row = json.loads(line)
        yield row["question"], row["method"], row["keep"], row["seed"]


def test_ways_are_every_method_at_every_budget_and_random_once_a_seed() -> None:
    found = ways(["resprune+mass", "random"], [16, 0.5], 3)
    assert found[0] == Way(FULL) and len(found) == 1 + 2 + 6
    assert found[1].settings == Settings(keep=16, method="resprune", mass=True)
    assert [way.settings.method.seed for way in found if way.name == "random" and way.keep == 16] == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "budgets", "seeds", "said"),
    [
        (["magic"], [16], 1, "no method 'magic'"),
        (["random"], [0], 1, "at least 1 token"),
        (["random"], [16], 0, "at least 1"),
        (["random", "random"], [16], 1, "twice"),
    ],
)
def test_what_cannot_be_asked_is_refused(names: list[str], budgets: list[int], seeds: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ways(names, budgets, seeds)


@pytest.mark.parametrize("torn", [False, True])
def test_after_a_kill_the_rest_is_asked_and_nothing_twice(tmp_path: Path, torn: bool) -> None:
    tries = ways(["resprune", "random"], [16, 8], 2)
    whole = run(Fake(), examples(), tries, Folder(tmp_path / "whole", PLAN))
    with pytest.raises(KeyboardInterrupt):
        run(Fake(dies_after=17), examples(), tries, Folder(tmp_path / "killed", PLAN))
    file = tmp_path / "killed" / ROWS
    if torn:
        file.write_bytes(file.read_bytes()[:-20])
    again = Fake()
    rows = run(again, examples(), tries, Folder(tmp_path / "killed", PLAN))
    assert rows == whole
    assert len(again.asked) == len(whole) - 17 + torn
    assert list(rows_of(tmp_path / "killed")) == list(rows_of(tmp_path / "whole"))
    assert len(set(rows_of(tmp_path / "killed"))) == len(whole) == 8 * 7


def test_a_folder_of_another_study_is_refused_and_kept(tmp_path: Path) -> None:
    Folder(tmp_path / "a", PLAN)
    with pytest.raises(InputError, match=r"another study .*keep"):
        Folder(tmp_path / "a", PLAN | {"keep": ["4"]})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds other files"):
        Folder(tmp_path / "b", PLAN)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used"):
        Folder(tmp_path / "file", PLAN)
    assert json.loads((tmp_path / "a" / "study.json").read_text()) == PLAN


def test_no_question_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no question"):
        run(Fake(), [], ways(["random"], [16], 1), Folder(tmp_path / "a", PLAN))


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    tries = ways(["divprune", "random"], [16], 2)
    report = compared(run(Fake(), examples(), tries, Folder(tmp_path / "a", PLAN)))
    assert report["full"]["accuracy"] == 1 and report["full"]["questions"] == 8
    no, yes = report["results"]
    assert (no["method"], no["seeds"], yes["seeds"]) == ("divprune", 1, 2)
    assert no["accuracy"] == no["relative"] == no["agreement"] == 0.5 and no["relative_interval"] == [0.5, 0.5]
    assert no["kinds"] == {"kind 0": 1.0, "kind 1": 0.0} and yes["kinds"] == {"kind 0": 0.0, "kind 1": 1.0}
    assert (no["kept"], no["select_ms"], no["prefill_ms"]) == (16, 1, 3)
    assert no["over_random"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    assert "over_random" not in yes
    assert "divprune" in _readable_study(PLAN | {"model": "fake"} | report)


def row(question: int, method: str, right: bool, scene: int | None = None) -> dict[str, Any]:
    return {
        "question": question,
        "scene": question if scene is None else scene,
        "kind": "k",
        "method": method,
        "keep": "None" if method == FULL else "8",
        "seed": 0,
        "answer": "yes" if right else "no",
        "right": right,
        "kept": 8,
        "select_ms": 1.0,
        "prefill_ms": 1.0,
    }


def test_a_difference_is_paired_and_its_chance_is_right() -> None:
    """On 12 pictures one method is right and random is wrong: chance gives that in 2 of 4096 cases."""
    rows = [row(q, method, method != "random") for q in range(12) for method in (FULL, "uniform", "random")]
    (over,) = (r["over_random"] for r in compared(rows)["results"] if "over_random" in r)
    assert over["difference"] == 1 and over["interval"] == [1, 1]
    assert 0.0002 <= over["p"] < 0.003


def test_questions_of_one_picture_count_as_one_witness() -> None:
    apart = [row(q, method, method != "random") for q in range(12) for method in (FULL, "uniform", "random")]
    together = [r | {"scene": r["question"] // 6} for r in apart]
    chances = [
        next(r["over_random"]["p"] for r in compared(rows)["results"] if "over_random" in r)
        for rows in (apart, together)
    ]
    assert chances[0] < 0.01 and chances[1] > 0.4


def test_chances_are_corrected_for_their_number() -> None:
    """Holm: the least of three is multiplied by three, and none falls below one before it."""
    names = ("uniform", "norm", "lrcp")
    one = [row(q, m, m != "random") for q in range(12) for m in (FULL, "uniform", "random")]
    three = one + [row(q, m, q < 7) for q in range(12) for m in names[1:]]
    alone = next(r["over_random"]["p"] for r in compared(one)["results"] if r["method"] == "uniform")
    found = {r["method"]: r["over_random"]["p"] for r in compared(three)["results"] if "over_random" in r}
    assert found["uniform"] == pytest.approx(3 * alone, abs=1e-3)
    assert found["norm"] == found["lrcp"] > found["uniform"]


def test_a_real_model_is_asked_once_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    from resprune.evaluate import replies as module

    model, processor = load("bundled")
    encodings = []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda *a: encodings.append(1) or encode(*a))
    asking = Replies(model, processor)
    asked = [e for e in emoji_test(2) if e.kind.startswith("present")]
    said = [asking.to(e, settings) for e in asked for settings in (None, Settings(keep=16, mass=True))]
    assert len(encodings) == len({e.scene for e in asked}) == 2
    assert [s.kept for s in said] == [576, 16] * len(asked)
    assert all(s.text.strip() in ("Yes.", "No.") and s.prefill_ms > 0 for s in said)
    assert said[0].select_ms == 0 < said[1].select_ms
    assert not hasattr(model, "resprune")


def test_in_batches_the_answers_are_the_same() -> None:
    """With prompts of all lengths in one batch, FastV by itself, and pictures that are shared, on the bundled model."""
    model, processor = load("bundled", dtype=torch.float32)
    tries = ways(["resprune+mass", "divprune", "fastv"], [48], 1)
    asked = [(number, example, tries) for number, example in enumerate(list(emoji_test(2))[::6])]
    assert len({example.scene for _, example, _ in asked}) == 2 < len(asked)
    one, many = (
        {key_of(row): row for rows in answered(asked, Replies(model, processor), batch) for row in rows}
        for batch in (1, 3)
    )
    assert one.keys() == many.keys() and len(one) == len(asked) * len(tries)
    for key, row in one.items():
        assert {name: value for name, value in many[key].items() if not name.endswith("_ms")} == {
            name: value for name, value in row.items() if not name.endswith("_ms")
        }
    assert not hasattr(model, "resprune")


def test_a_batch_is_one_run_and_a_picture_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny_llava(grid=4)
    sizes, asking = [], Replies(model, processor, 3)
    encode = replies_module.encode
    monkeypatch.setattr(replies_module, "encode", lambda *given: sizes.append(0) or encode(*given))
    model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: sizes.append(len(given["inputs_embeds"])), with_kwargs=True
    )
    asked = [(example, way) for example in examples(2) for way in (None, Settings(4), Settings(4, method="fastv"))]
    found = asking.to_all(asked)
    assert sizes == [0, 0, *[8] * 3, *[1] * 3 * 4]  # two pictures, one batch, four by themselves
    assert [reply.kept for reply in found] == [16, 4, 16] * 4


def test_the_command_refuses_lists_without_a_folder(capsys: pytest.CaptureFixture) -> None:
    from resprune.__main__ import main

    assert main(["evaluate", "--method", "random,uniform"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["evaluate", "--out", "/dev/null/x", "--method", "magic"]) == 2
    assert "no method" in capsys.readouterr().err


def test_the_command_writes_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from resprune.__main__ import main
    from resprune.commands import evaluate as command
    from resprune.evaluate import processes, sets

    monkeypatch.setitem(sets.SETS, "emoji-test", lambda scenes: iter(examples(scenes)))
    monkeypatch.setattr(command, "model_of", lambda options: (SimpleNamespace(parameters=list), None))
    monkeypatch.setattr(processes, "Replies", lambda model, processor: Fake())
    asked = ["evaluate", "--scenes", "3", "--method", "uniform, random", "--keep", "16,8", "--out", str(tmp_path)]
    assert main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["methods"] == ["uniform", "random"] and len(report["results"]) == 4
    assert main(asked) == 0
    assert "over random" in capsys.readouterr().out
    assert main([*asked, "--seeds", "4"]) == 2
    assert "another study" in capsys.readouterr().err
