"""Inspect many without a page: what a job takes, and that it loses nothing."""

import csv
import io
import json
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from app.asking import Options
from app.failures import Refused
from app.inspect import runner, votes
from app.inspect.export import export, rows
from app.inspect.items import Item, items
from app.inspect.pool import CLOSED, FOLDERS, Limits, folder, uploaded
from app.inspect.store import JOURNAL, PLAN, Job, Store
from app.registry import Registry
from resprune.errors import InputError

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs")


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(file, "PNG")
    return file.getvalue()


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def job_of(store: Store, count: int = 3, question: str = "What is it?", broken: tuple[int, ...] = ()) -> str:
    """The key of a new job of single-coloured pictures, some of which are none."""
    path = store.root.parent / "pictures.zip"
    pictures = {f"{n}.png": b"no picture" if n in broken else png() for n in range(count)}
    return runner.begin(store, [str(zipped(path, pictures))], "", question, Options(9, max_new_tokens=4), "bundled")


def test_each_picture_of_a_zip_is_asked_and_what_is_none_is_named(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip",
        {"b/2.png": png(), "b/1.JPG": png(), "notes.txt": b"x", "__MACOSX/._1.png": b"", ".x.png": b""},
    )
    found, problems = items(uploaded([path], Limits()), " What? ", Limits())
    assert found == [Item("b/2.png", "What?"), Item("b/1.JPG", "What?")]
    assert [str(problem) for problem in problems] == ["notes.txt: is neither a picture nor a table (CSV, TSV, JSONL)"]


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, store: Store, name: str) -> None:
    path = zipped(tmp_path / "a.zip", {"good.png": png(), name: png()})
    key = runner.begin(store, [str(path)], "", "What?", Options(9), "bundled")
    plan = store.open(key).plan
    assert [item.name for item in plan.items] == ["good.png"]
    assert "leads out of the archive" in plan.problems[0]
    inside = {file.name for file in store.root.rglob("*") if file.is_file()}
    assert inside == {PLAN, "0000"}, "nothing is stored under a name of the archive"


def test_a_bomb_is_stopped_at_the_limit_whatever_it_claims(tmp_path: Path, store: Store) -> None:
    path = zipped(tmp_path / "bomb.zip", {"bomb.png": bytes(3_000_000), "good.png": png()})
    assert path.stat().st_size < 10_000
    lying = path.read_bytes().replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "lying.zip").write_bytes(lying)
    for name in ("bomb.zip", "lying.zip"):
        pool = uploaded([tmp_path / name], Limits(file_bytes=100_000))
        with pytest.raises(Refused, match=r"more than|damaged"):
            pool.files["bomb.png"]()
        assert pool.files["good.png"]() == png()


def test_a_zip_of_too_many_files_is_refused_before_they_are_listed(tmp_path: Path, monkeypatch) -> None:
    path = zipped(tmp_path / "many.zip", {f"{n:0200}.png": b"" for n in range(40)}, zipfile.ZIP_STORED)
    assert "has more than 10 files" in str(uploaded([path], Limits(files=10)).problems[0])
    with monkeypatch.context() as patched:
        patched.setattr("zipfile.ZipFile", lambda _: pytest.fail("the list was read"))
        uploaded([path], Limits(files=10))
    assert "has 40 files, more than 30" in str(uploaded([path], Limits(files=30)).problems[0])
    assert len(uploaded([path], Limits(files=40)).files) == 40


@pytest.mark.parametrize("content", [b"", b"no zip", png(), b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(Refused, match="nothing to ask"):
        items(uploaded([tmp_path / "a.zip"], Limits()), "What?", Limits())


def test_pictures_beyond_the_total_are_left_out_and_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs", limits=Limits(total_bytes=2 * len(png())))
    plan = store.open(job_of(store, 4)).plan
    assert len(plan.items) == 2
    assert "2.png: and all after it" in plan.problems[0]


def test_bad_rows_of_a_table_are_named_by_line_and_field_and_the_rest_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    table = (
        "\ufeffImage;Question;answers\r\na.png;What?;a dog|dog\r\nb.png;What?;\r\n;What?;\r\na.png;  ;\r\n"
        'a.png;"two\nlines";x\r\na.png;What?;x;more\r\na.png\r\n'
    )
    (tmp_path / "q.csv").write_text(table, newline="")
    found, problems = items(uploaded(sorted(tmp_path.iterdir()), Limits()), "", Limits())
    assert found == [Item("a.png", "What?", ("a dog", "dog")), Item("a.png", "two\nlines", ("x",))]
    assert [str(problem) for problem in problems] == [
        "q.csv, line 3: field image: there is no picture 'b.png'",
        "q.csv, line 4: field image: it is empty",
        "q.csv, line 5: field question: The question is empty; type one.",
        "q.csv, line 8: it has more fields than the header",
        "q.csv, line 9: field question: it is empty",
    ]


def test_bad_lines_of_jsonl_are_named_and_the_rest_is_asked(tmp_path: Path) -> None:
    good = [{"image": "p/a.png", "question": "What?", "answers": ["x"]}, {"image": "a.png", "question": "Why?"}]
    bad = ["{", "[" * 100_000, "[1]", '{"image": 1}', '{"image": "a.png", "question": "?", "answers": [1]}']
    bad.append('{"image": "a.png", "question": "\\ud800"}')
    lines = [*map(json.dumps, good), "", *bad]
    path = zipped(tmp_path / "a.zip", {"p/a.png": png(), "q.jsonl": "\n".join(lines).encode()})
    found, problems = items(uploaded([path], Limits()), "", Limits())
    assert found == [Item("p/a.png", "What?", ("x",)), Item("p/a.png", "Why?")]
    assert [str(problem).partition(": ")[0] for problem in problems] == [f"q.jsonl, line {n}" for n in range(4, 10)]
    words = ("JSON", "JSON", "object", "image", "answers", "question")
    assert all(word in str(problem) for word, problem in zip(words, problems, strict=True))


def test_a_table_without_the_columns_or_in_another_encoding_is_named(tmp_path: Path) -> None:
    for name, content in {"a.csv": b"picture,text\n1,2\n", "b.csv": "image,question\nä,ö\n".encode("latin-1")}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=r"a.csv, line 1: there is no column image and no column question.*UTF-8"):
        items(uploaded(sorted(tmp_path.iterdir()), Limits()), "", Limits())


def test_only_folders_that_the_operator_opened_can_be_read(tmp_path: Path, monkeypatch) -> None:
    inside, outside = tmp_path / "open" / "deep", tmp_path / "closed"
    for place in (inside, outside):
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(png())
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "loop").symlink_to(tmp_path)
    for value, path in (("", inside), (str(inside), outside), (str(inside), inside / ".."), (str(inside), "/nowhere")):
        monkeypatch.setenv(FOLDERS, value)
        with pytest.raises(Refused) as refusal:
            folder(str(path), Limits())
        assert str(refusal.value) == CLOSED, "the same words whether it exists or not"
    monkeypatch.setenv(FOLDERS, str(tmp_path / "open"))
    assert list(folder(str(inside.parent), Limits()).files) == ["deep/a.png"], "links are not followed"
    with pytest.raises(Refused):
        folder("a\0b", Limits())


def test_a_job_runs_names_what_failed_and_goes_on_after_a_restart(registry: Registry, store: Store) -> None:
    key = job_of(store, 4, broken=(1,))
    job = store.open(key)
    going = runner.run(registry, job, threading.Event())
    assert [next(going), next(going)] == [0, 1]
    going.close()
    journal = job.folder / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"item": 2, "result": {"fu')  # a crash in the middle of a line
    again = Store(store.root).open(key)
    assert again.pending == [2, 3]
    assert "no picture that can be read" in again.results[1]["error"]
    before = again.results[0]
    assert list(runner.run(registry, again, threading.Event())) == [2, 3]
    done = store.open(key)
    assert done.pending == []
    assert done.results[0] == before, "what was answered is not asked again"
    assert done.results[3]["pruned"]["tokens_kept"] == 9
    assert [row["image"] for row in rows(done, only="errors")] == ["1.png"]


def test_pause_stops_at_once_and_cancel_for_good(registry: Registry, store: Store) -> None:
    key = job_of(store)
    job = store.open(key)
    with store.running(key) as stop:
        with pytest.raises(Refused, match="running already"), store.running(key):
            pass
        going = runner.run(registry, job, stop)
        next(going)
        store.pause(key)
        assert list(going) == []
    assert len(store.open(key).pending) == 2
    job.note({"cancelled": True})
    assert store.open(key).pending == []
    assert list(store.open(key).results) == [0], "what was answered stays"


def test_nobody_finds_a_job_without_its_key(store: Store) -> None:
    mine, other = job_of(store), job_of(store)
    assert mine != other
    assert all(mine not in str(path) for path in store.root.rglob("*")), "not even who lists the folder"
    for key in ("", "x" * 22, mine[:-1], "../" + mine, mine + "/..", "0000"):
        with pytest.raises(Refused, match="no job with this key"):
            store.open(key)
    store.delete(mine)
    with pytest.raises(Refused, match="no job with this key"):
        store.open(mine)
    assert store.open(other).plan.items


def test_old_jobs_go_and_a_full_store_says_so(tmp_path: Path) -> None:
    limits = Limits(total_bytes=1000)
    old = job_of(Store(tmp_path / "jobs", limits=limits))
    with pytest.raises(Refused, match="no job"):
        Store(tmp_path / "jobs", days=-1, limits=limits).clean() or Store(tmp_path / "jobs").open(old)
    store = Store(tmp_path / "jobs", bytes_at_most=3000, limits=limits)
    key = job_of(store)
    with pytest.raises(Refused, match="as many jobs as it can"):
        [job_of(store) for _ in range(3)]
    assert store.open(key), "a job of the last hour is nobody's to delete"


def answered(store: Store, pairs: list[tuple[str, str]], name: str = "a.png", question: str = "What?") -> Job:
    """A job with given answers, the pictures of which nobody looks at."""
    key = job_of(store, len(pairs), question)
    job = store.open(key)
    facts = dict.fromkeys(("tokens_kept", "ttft_ms", "select_ms", "prefill_ms", "total_ms", "kv_bytes"), 1)
    facts |= {"method": "resprune"}
    for number, (full, pruned) in enumerate(pairs):
        change = 0.0 if full == pruned else float(number)
        sides = {"full": {"answer": full, **facts}, "pruned": {"answer": pruned, **facts}}
        job.note({"item": number, "result": sides | {"change": change}})
    return job


def test_votes_are_blind_shuffled_and_counted(store: Store) -> None:
    job = answered(store, [(f"full {n}", f"pruned {n}") for n in range(20)] + [("same", "same")])
    assert 20 not in votes.pairs(job), "equal answers need no vote"
    assert votes.pairs(job) != sorted(votes.pairs(job))
    first = {votes.order(job, item)[0] for item in range(20)}
    assert first == {"full", "pruned"}, "each side stands first at times"
    judged = []
    while pair := votes.next_pair(job):
        judged.append(pair.item)
        votes.vote(job, pair.item, "tie" if len(judged) > 18 else "a" if pair.a.startswith("pruned") else "b")
    assert judged == votes.pairs(job)
    counted = votes.tally(job)
    assert (counted.full, counted.pruned, counted.ties, counted.left, counted.share) == (0, 18, 2, 0, 1.0)
    assert (counted.low, counted.high) == pytest.approx((0.8241, 1.0), abs=1e-4)
    for item, choice in ((20, "a"), (99, "a"), (0, "full")):
        with pytest.raises(Refused):
            votes.vote(job, item, choice)


def test_change_is_the_fall_of_the_full_answers_log_probability(registry: Registry, store: Store) -> None:
    path = store.root.parent / "a.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((90, 60), 90).save(path)
    changes = []
    for keep in (36, 1):
        key = runner.begin(store, [str(path)], "", "What is it?", Options(keep, max_new_tokens=4), "bundled")
        job = store.open(key)
        assert list(runner.run(registry, job, threading.Event())) == [0]
        changes.append(job.results[0]["change"])
    assert changes[0] == 0, "with every token kept no probability changes"
    assert changes[1] != 0


def test_rows_are_filtered_and_sorted(store: Store) -> None:
    job = answered(store, [("dog", "dog"), ("dog", "dig"), ("dog", "cat")])
    assert [row["item"] for row in rows(job, "different")] == [1, 2]
    assert [row["item"] for row in rows(job, sort="change")] == [2, 1, 0]
    with pytest.raises(Refused):
        rows(job, "nonsense")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_the_csv_is_a_formula_and_jsonl_keeps_each_text(store: Store, text: str) -> None:
    job = answered(store, [(text, "dog"), ("dog", text)])
    table = list(csv.DictReader(io.StringIO(export(job, "csv"), newline="")))
    assert (table[0]["full"], table[1]["pruned"]) == ("'" + text, "'" + text)
    assert all(
        not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) for row in table for cell in row.values()
    )
    lines = [json.loads(line) for line in export(job, "jsonl").splitlines()]
    assert (lines[0]["full"], lines[1]["pruned"]) == (text, text)
    assert lines[0]["change"] == pytest.approx(float(table[0]["change"]))


def test_nothing_to_ask_is_said(store: Store) -> None:
    with pytest.raises(Refused, match="nothing to ask"):
        runner.begin(store, [], "", "What?", Options(9), "bundled")
    with pytest.raises(InputError, match="budget"):
        runner.begin(store, [], "", "What?", Options("0"), "bundled")
