"""Every case of the abuse set gets what it must, and the next ordinary question is answered."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import calls
import files
import httpx
import pictures
import pytest
import questions
import reports
import web
from case import ANSWER, Case
from serving import served
from table import CASES, DOCUMENT, document

from app.registry import Registry

FILE = {"_type": "gradio.FileData"}


class Desk:
    """The page, as a program meets it without a client's care."""

    def __init__(self, address: str) -> None:
        self.web = httpx.Client(base_url=address, timeout=60)
        self.picture = self.upload("good.png", pictures.saved(pictures.plain()))

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Send a file; returns what Gradio calls it."""
        (path,) = self.web.post("gradio_api/upload", files={"files": (name, content)}).raise_for_status().json()
        return {"path": path, "meta": FILE}

    def call(self, name: str, values: list[Any]) -> tuple[str, Any]:
        """The message of an error, or "" and the last values."""
        body = json.dumps({"data": [self.picture if value == calls.GOOD else value for value in values]})
        headers = {"content-type": "application/json"}
        begun = self.web.post(f"gradio_api/call/{name}", content=body, headers=headers).raise_for_status().json()
        said = self.web.get(f"gradio_api/call/{name}/{begun['event_id']}").text.strip().split("\n\n")[-1]
        event, _, data = said.partition("\n")
        given = json.loads(data.removeprefix("data: "))
        return ("", given) if event == "event: complete" else (str(given["error"]), None)

    def ask(self, **changed: Any) -> str:
        """What /answer gives: an error's message, or :data:`ANSWER` with what it notes of the picture."""
        name, values = calls.answer(**changed)
        return self.told(name, values)

    def told(self, name: str, values: list[Any]) -> str:
        error, given = self.call(name, values)
        if error:
            return error
        notes = [note for note in given[1]["notes"] if note.startswith(("The picture", "Transparent"))]
        return ": ".join([ANSWER, *notes])

    def job(self, uploads: dict[str, bytes], question: str = "What is it?") -> tuple[str, str, list[str]]:
        """An error's message, or the key of a job and what was left out of it."""
        given = [self.upload(name, content) for name, content in uploads.items()]
        error, made = self.call("inspect_start", [given, "", question, *calls.VALUES[2:]])
        return (error, "", []) if error else ("", *made)


@pytest.fixture(scope="module")
def desk(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RESPRUNE_JOBS", str(tmp_path_factory.mktemp("jobs")))
        patched.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with served(registry) as address:
            yield Desk(address)


@pytest.fixture(scope="module", autouse=True)
def afterwards(desk: Desk) -> Iterator[None]:
    """An ordinary question before all cases and after them."""
    assert desk.ask() == ANSWER
    yield
    assert desk.ask() == ANSWER


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name[:60]) for case in cases])


@each(pictures.CASES)
def test_picture(desk: Desk, case: Case) -> None:
    assert desk.ask(image=desk.upload("a.png", case.give())) == case.gets


@each(questions.CASES)
def test_question(desk: Desk, case: Case) -> None:
    assert desk.ask(question=case.give()) == case.gets


@each(calls.CASES)
def test_endpoint(desk: Desk, case: Case) -> None:
    assert desk.told(*case.give()) == case.gets


@each(web.CASES)
def test_web(desk: Desk, case: Case) -> None:
    answer = desk.web.request(**case.give())
    status, _, where = case.gets.partition(", ")
    assert answer.status_code == int(status)
    assert "root:" not in answer.text and "import argparse" not in answer.text
    if where:
        (path,) = answer.json()
        assert Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())


@each(files.CASES)
def test_file_of_a_job(desk: Desk, case: Case) -> None:
    error, key, problems = desk.job(case.give())
    if error:
        assert error == case.gets
        return
    assert "; left out: ".join([files.USED, *problems]) == case.gets
    store = Path(os.environ["RESPRUNE_JOBS"])
    assert {path.name for path in store.rglob("*") if path.is_file()} == {"job.json", "0000"}, "no name of theirs"
    assert desk.call("inspect_delete", [key]) == ("", ["deleted"])


@each(files.CELLS)
def test_cell_of_an_exported_csv(desk: Desk, case: Case) -> None:
    _, key, _ = desk.job({"=1+1.png": pictures.saved(pictures.plain())}, case.give())
    desk.call("inspect_run", [key])
    _, (file,) = desk.call("inspect_export", [key, "csv"])
    text = desk.web.get(f"gradio_api/file={file['path']}").text
    (row,) = csv.DictReader(text.splitlines())
    assert row["question"] == case.gets
    assert row["image"] == "'=1+1.png"
    assert desk.call("inspect_delete", [key]) == ("", ["deleted"])


@pytest.fixture(scope="module")
def saved_report(desk: Desk) -> bytes:
    _, (_, data) = desk.call("report", list(calls.VALUES))
    return desk.web.get(f"gradio_api/file={data['path']}").content


@each(reports.CASES)
def test_report(desk: Desk, saved_report: bytes, case: Case) -> None:
    change = case.give()
    error, given = desk.call("report_open", [desk.upload("a.json", change(report=json.loads(saved_report)))])
    assert (error or reports.SHOWN) == case.gets
    if not error:
        assert given[0]["question"] == reports.MARKUP, "and is text to who opens it"


def test_the_case_for_a_picture_of_the_server_would_be_answered_if_it_were_uploaded(desk: Desk) -> None:
    assert desk.ask(image=desk.upload("a.png", Path(calls.own_picture()).read_bytes())) == ANSWER


def test_there_are_enough_cases_each_by_a_name_of_its_own_and_the_table_is_current() -> None:
    assert len(CASES) >= 60
    assert len({(case.edge, case.name) for case in CASES}) == len(CASES)
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "make abuse-table writes it anew"
