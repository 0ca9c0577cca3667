"""Inspect many without a page: what a job takes, and that it loses nothing."""

import csv
import io
import json
import os
import stat
import threading
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import gradio as gr
import pytest
from gradio.data_classes import FileData, ListFiles
from PIL import Image

from app.asking import Options
from app.failures import Refused
from app.inspect import runner, votes
from app.inspect.export import export, rows
from app.inspect.items import Item, items
from app.inspect.pool import CLOSED, FOLDERS, Limits, folder, uploaded
from app.inspect.store import JOURNAL, PLAN, Job, Store
from app.registry import Registry
from app.uploads import Upload, paths
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


BEAR = "B\u00e4r.png"


def zip_written_in(path: Path, code_page: str, names: list[str], extra: bytes = b"") -> Path:
    """A zip whose names are in a code page that it does not tell."""
    stand_ins = {name: name.encode(code_page).decode("cp437") for name in names}
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"{len(name.encode(code_page)) * 'x'}")
            entry.extra = extra
            archive.writestr(entry, png())
    content = path.read_bytes()
    for name in names:  # zipfile itself would flag them as UTF-8
        raw = stand_ins[name].encode("cp437")
        content = content.replace(len(raw) * b"x", raw, 2)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", [BEAR, "\u0416.png", "\u72ac\u8868.png"])
@pytest.mark.parametrize("code_page", ["utf-8", "cp437", "cp850", "cp1252", "cp866", "cp932", "gbk"])
def test_a_name_of_a_zip_that_does_not_tell_its_code_page_is_found(tmp_path: Path, name: str, code_page: str) -> None:
    try:
        path = zip_written_in(tmp_path / "a.zip", code_page, [name])
    except UnicodeEncodeError:
        return
    (tmp_path / "q.csv").write_text(f"image,question\n{name},What?\n", encoding="utf-8")
    found, problems = items(uploaded([path, tmp_path / "q.csv"], Limits()), "", Limits())
    assert len(found) == 1 and not problems
    if code_page in ("utf-8", "cp437"):
        assert found[0].name == name


def test_a_name_that_a_zip_holds_in_unicode_beside_is_the_one_that_is_shown(tmp_path: Path) -> None:
    raw = "B_r.png".encode("cp437").replace(b"_", b"\xe4")
    content = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + BEAR.encode()
    extra = (0x7075).to_bytes(2, "little") + len(content).to_bytes(2, "little") + content
    path = zip_written_in(tmp_path / "a.zip", "latin-1", [BEAR], extra)
    assert list(uploaded([path], Limits()).files) == [BEAR]


@pytest.mark.parametrize("code_page", ["utf-8", "cp437"])
@pytest.mark.parametrize("name", ["../b\u00e4r.png", "b\u00e4r/../../a.png"])
def test_a_name_without_a_code_page_does_not_lead_out_either(tmp_path: Path, name: str, code_page: str) -> None:
    pool = uploaded([zip_written_in(tmp_path / "a.zip", code_page, [name])], Limits())
    assert not pool.files and "leads out of the archive" in str(pool.problems[0])


def test_a_picture_is_found_however_its_name_is_spelled(tmp_path: Path, monkeypatch) -> None:
    apart = unicodedata.normalize("NFD", BEAR)
    table = f"image,question\n{BEAR},What?\nphoto.png,What?\nDEEP/cat.jpg,What?\n"
    files = {apart: png(), "Photo.PNG": png(), "deep/Cat.JPG": png(), "q.csv": table.encode()}
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "folder" / name).write_bytes(content)
    monkeypatch.setenv(FOLDERS, str(tmp_path / "folder"))
    for pool in (
        uploaded([zipped(tmp_path / "a.zip", files)], Limits()),
        uploaded([path for path in sorted((tmp_path / "folder").rglob("*")) if path.is_file()], Limits()),
        folder(str(tmp_path / "folder"), Limits()),
    ):
        found, problems = items(pool, "", Limits())
        assert [PurePosixPath(item.name).name for item in found] == [apart, "Photo.PNG", "Cat.JPG"]
        assert not problems


def test_the_same_name_wins_and_one_that_could_be_several_is_refused_by_name(tmp_path: Path) -> None:
    table = b"image,question\nphoto.png,What?\nPhoto.PNG,What?\nPHOTO.png,What?\na.png,What?\n"
    files = {"photo.png": png(), "Photo.PNG": png(), "x/a.png": png(), "y/a.png": png(), "q.csv": table}
    found, problems = items(uploaded([zipped(tmp_path / "a.zip", files)], Limits()), "", Limits())
    assert [item.name for item in found] == ["photo.png", "Photo.PNG"]
    assert [str(problem) for problem in problems] == [
        "q.csv, line 4: field image: 'PHOTO.png' could be 'Photo.PNG' or 'photo.png'; write the name exactly as the "
        "file has it.",
        "q.csv, line 5: field image: 'a.png' could be 'x/a.png' or 'y/a.png'; write the name exactly as the "
        "file has it.",
    ]


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPE", "HEIC", "avif", "TIF"])
def test_rarer_endings_are_pictures_in_uploads_zips_folders_and_tables(
    tmp_path: Path, monkeypatch, ending: str
) -> None:
    name = f"a.{ending}"
    (tmp_path / name).write_bytes(png())
    (tmp_path / "q.csv").write_text(f"image,question\n{name},What?\n")
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    several = [tmp_path / name, tmp_path / "q.csv"]
    in_zip = zipped(tmp_path.parent / f"{ending}.zip", {path.name: path.read_bytes() for path in several})
    for pool in (uploaded(several, Limits()), uploaded([in_zip], Limits()), folder(str(tmp_path), Limits())):
        assert items(pool, "", Limits()) == ([Item(name, "What?")], [])


def test_an_upload_is_known_by_the_name_that_its_visitor_gave_it(tmp_path: Path) -> None:
    """Gradio stores it under a name that lacks what some system could not bear."""
    stored = tmp_path / "what.png"
    stored.write_bytes(png())
    (tmp_path / "q.csv").write_text("image,question\nwhat?!.png,What?\n")
    component = paths(gr.File(file_count="multiple"))
    whole = [FileData(path=str(stored), orig_name="what?!.png"), FileData(path=str(tmp_path / "q.csv"))]
    given = component.preprocess(ListFiles(root=whole))
    assert items(uploaded(given, Limits()), "", Limits()) == ([Item("what?!.png", "What?")], [])
    for hostile in ("../../etc/passwd.png", "/etc/passwd.png", "..\\passwd.png"):
        assert list(uploaded([Upload(str(stored), hostile)], Limits()).files) == ["passwd.png"]
    for useless in ("a\nb.png", "x" * 3000 + ".png", "..", None):
        payload = ListFiles(root=[FileData(path=str(stored), orig_name=useless)])
        assert list(uploaded(component.preprocess(payload), Limits()).files) == ["what.png"]


@pytest.mark.parametrize(
    "table",
    [
        "image,question,Answer\na.png,What?,a dog|dog\n",
        "Image;Question;answer\na.png;What?;a dog|dog\n",
        "sep=;\nimage;question;answers\na.png;What?;a dog|dog\n",
        '"sep=\t"\r\nimage\tquestion\tanswers\r\na.png\tWhat?\ta dog|dog\r\n',
        "sep=,\nimage,question,answers,answer\na.png,What?,a dog|dog,\n",
    ],
)
def test_a_table_as_spreadsheets_and_people_write_it(tmp_path: Path, table: str) -> None:
    (tmp_path / "a.png").write_bytes(png())
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "q.csv").write_text(table, newline="", encoding=encoding)
        found = items(uploaded(sorted(tmp_path.iterdir()), Limits()), "", Limits())
        assert found == ([Item("a.png", "What?", ("a dog", "dog"))], [])


def test_lines_are_counted_as_the_file_has_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "q.csv").write_text("sep=;\nimage;question\na.png;What?\nb.png;What?\n")
    _, problems = items(uploaded(sorted(tmp_path.iterdir()), Limits()), "", Limits())
    assert [str(problem) for problem in problems] == ["q.csv, line 4: field image: there is no picture 'b.png'"]


def test_columns_that_are_not_used_are_named_where_answers_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "q.csv").write_text("image,question,label\na.png,What?,dog\n")
    (tmp_path / "r.jsonl").write_text('{"image": "a.png", "question": "What?", "Answer": "dog", "id": 1}')
    found, problems = items(uploaded(sorted(tmp_path.iterdir()), Limits()), "", Limits())
    assert found == [Item("a.png", "What?"), Item("a.png", "What?", ("dog",))]
    assert [str(problem) for problem in problems] == [
        "q.csv: has no column answers, so that nothing can be right or wrong; not used: 'label'"
    ]


def test_links_and_what_is_no_file_are_named_in_folders_and_zips(tmp_path: Path, monkeypatch) -> None:
    inside = tmp_path / "open"
    inside.mkdir()
    (inside / "a.png").write_bytes(png())
    (inside / "link.png").symlink_to(inside / "a.png")
    (inside / "loop").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe.png")
    os.symlink("nowhere", os.fsencode(inside) + b"/B\xe4r.png")
    monkeypatch.setenv(FOLDERS, str(inside))
    pool = folder(str(inside), Limits())
    assert list(pool.files) == ["a.png"]
    assert {str(problem) for problem in pool.problems} == {
        "link.png: is a link, which is not followed",
        "loop: is a link, which is not followed",
        "pipe.png: is no file",
        "B\u03a3r.png: is a link, which is not followed",
    }
    assert json.dumps([str(problem) for problem in pool.problems], ensure_ascii=False).encode(), "the page can show it"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    pool = uploaded([tmp_path / "a.zip"], Limits())
    assert not pool.files
    assert [str(problem) for problem in pool.problems] == ["a.zip, link.png: is a link, which is not followed"]


def test_a_folder_s_name_that_is_no_utf_8_is_shown_and_found(tmp_path: Path, monkeypatch, registry: Registry) -> None:
    (tmp_path / os.fsdecode(BEAR.encode("latin-1"))).write_bytes(png())
    (tmp_path / "q.csv").write_text(f"image,question\n{BEAR},What?\n", encoding="utf-8")
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    store = Store(tmp_path.parent / "jobs of names")
    key = runner.begin(store, [], str(tmp_path), "", Options(9, max_new_tokens=2), "bundled")
    assert list(runner.run(registry, store.open(key), threading.Event())) == [0]
    (row,) = rows(store.open(key))
    assert "error" not in row and row["image"].encode()


def test_excel_knows_the_csv_as_utf_8_and_it_can_be_read_again(store: Store) -> None:
    job = answered(store, [("Gr\u00fc\u00dfe", "dog")])
    text = export(job, "csv")
    assert text.encode().startswith(b"\xef\xbb\xbfitem,image,")
    (row,) = csv.DictReader(io.StringIO(text.encode().decode("utf-8-sig"), newline=""))
    assert row["full"] == "Gr\u00fc\u00dfe"
    assert not export(job, "jsonl").startswith("\ufeff")


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
    monkeypatch.setenv(FOLDERS, os.pathsep.join(["/nowhere", str(tmp_path / "open")]))
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
