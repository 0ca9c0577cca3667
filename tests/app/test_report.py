"""Reports: what a file says is what the page showed, and a file from anywhere is checked before it is believed."""

import copy
import json
import platform
import re
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from browser import chromium

from app import asking, handlers
from app.asking import Options
from app.failures import Refused
from app.methods import own_options
from app.record import record_of, shown_map, with_differences
from app.registry import Registry
from app.report.document import to_html
from app.report.files import MOST_BYTES, RECORD, SUM, VERSION, _sum, from_json, to_json
from app.report.schema import AnswerPart, ChangePart, MapPart, OptionsPart, RecordPart
from app.report.tab import redraw, save, show
from app.scenes import examples
from app.session import Session
from resprune.compare.answers import Answer
from resprune.compare.differences import TokenChange

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u2028'\"${1}<!--"


@pytest.fixture(scope="module")
def record(registry: Registry) -> dict[str, Any]:
    """A real comparison of a tiny model."""
    path, options = str(examples()[0].path), Options(9, mass=True, max_new_tokens=4)
    with asking.request(registry, path, "What animal is it?", options, threading.Event()) as request:
        for _ in request.updates():
            pass
        return with_differences(record_of(request), request.differences())


def changed(record: dict[str, Any], change: Callable[[dict[str, Any]], Any], resum: bool = True) -> bytes:
    """A saved report after somebody changed its record, with or without the right checksum."""
    report = json.loads(to_json(record))
    change(report[RECORD])
    if resum:
        report[SUM] = _sum(report[RECORD])
    return json.dumps(report).encode()


def test_a_saved_report_is_the_same_record_again(record: dict[str, Any]) -> None:
    assert from_json(to_json(record).encode()) == json.loads(json.dumps(record))


def test_the_schema_knows_every_field_of_what_it_checks(record: dict[str, Any]) -> None:
    assert set(RecordPart.model_fields) == set(record)
    assert set(MapPart.model_fields) - {"by_hand"} == set(record["map"])
    for part, of in ((AnswerPart, Answer), (OptionsPart, Options), (ChangePart, TokenChange)):
        assert set(part.model_fields) == {field.name for field in fields(of)}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null", b'{"a": NaN}', b"[" * 100_000, b"<html>"])
def test_a_foreign_file_is_refused(content: bytes) -> None:
    with pytest.raises(Refused, match="no report of ResPrune"):
        from_json(content)


def test_another_version_a_changed_file_and_a_large_one_are_refused(record: dict[str, Any]) -> None:
    report = json.loads(to_json(record))
    with pytest.raises(Refused, match=r"format 99, and this page reads the format \d+"):
        from_json(json.dumps(report | {VERSION: 99}).encode())
    with pytest.raises(Refused, match="changed or damaged"):
        from_json(changed(record, lambda r: r["pruned"].update(answer="better"), resum=False))
    with pytest.raises(Refused, match="larger than any report"):
        from_json(b" " * (MOST_BYTES + 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("map"), "map"),
        (lambda r: r.update(more=1), "more"),
        (lambda r: r["full"].update(ttft_ms="fast"), "full.ttft_ms"),
        (lambda r: r["full"].update(ttft_ms=-1), "full.ttft_ms"),
        (lambda r: r["pruned"].update(tokens_kept=10), "same tokens"),
        (
            lambda r: r["map"]["order"].reverse() or r["map"]["order"].__setitem__(0, 3),
            "order does not name each patch",
        ),
        (lambda r: r["map"].update(kept=[0, 99, 1, 2, 3, 4, 5, 6, 7]), "not there"),
        (lambda r: r["map"]["boxes"].pop(), "boxes has 35 entries"),
        (lambda r: r["map"].update(relevance={"x": [1.0]}), "relevance x"),
        (lambda r: r.update(picture="https://example.org/a.png"), "picture"),
        (lambda r: r.update(picture="data:image/svg+xml;base64,PHN2Zz4="), "picture"),
        (lambda r: r.update(picture="data:image/jpeg;base64,AAAA"), "no picture"),
        (lambda r: r["options"].update(method="nonsense"), "no method"),
        (lambda r: r["options"].update(keep="0"), "budget"),
        (lambda r: r.update(made="<b>"), "made"),
        (lambda r: r.update(question="a" * 30_000), "question"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_though_its_sum_is_right(
    record: dict[str, Any], change: Callable, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refusal:
        from_json(changed(record, change))
    assert str(refusal.value).startswith("This report cannot be shown: ")


def test_a_report_names_no_folder_and_no_computer(record: dict[str, Any], tmp_path) -> None:
    folder = record | {side: record[side] | {"model": str(tmp_path / "my-model")} for side in ("full", "pruned")}
    for text in (to_json(folder), to_html(folder)):
        assert "my-model" in text
        assert str(tmp_path) not in text
        assert not re.search(rf"\b{re.escape(platform.node())}\b", text)


def hostile(value: Any, name: str = "") -> Any:
    """The record with script in every text, and as the name of a noun, but the picture, which the page made itself."""
    if isinstance(value, dict):
        return {HOSTILE if name == "relevance" else key: hostile(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) and name not in ("picture", "made") else value


def test_script_in_every_field_stays_text_offline_and_the_slider_works(record: dict[str, Any], tmp_path) -> None:
    spoilt = copy.deepcopy(record)
    spoilt["pruned"]["notes"] = spoilt["pruned"]["nouns"] = ["x"]
    (tmp_path / "good.html").write_text(to_html(record), encoding="utf-8")
    (tmp_path / "spoilt.html").write_text(to_html(hostile(spoilt)), encoding="utf-8")
    loose = to_html(hostile(spoilt)).replace("&lt;", "<").replace("&gt;", ">").replace("&#x27;", "'")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    (tmp_path / "policy.html").write_text(loose, encoding="utf-8")
    (tmp_path / "control.html").write_text(policy.sub("", loose), encoding="utf-8")
    with chromium() as browser:
        seen = {}
        for name in ("good", "spoilt", "policy", "control"):
            page, asked, errors = browser.new_page(), [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            page.goto((tmp_path / f"{name}.html").as_uri())
            page.wait_for_timeout(300)
            seen[name] = page.evaluate("window.hacked ?? 0"), page.locator("img[src=x]").count()
            if name in ("good", "spoilt"):
                assert errors == []
                assert len(asked) == 1 and asked[0].endswith(f"{name}.html"), "nothing is loaded"
                page.locator("#budget input").fill("3")
                assert page.locator("#patch-map .readout").inner_text().split()[:3] == ["3", "of", "36"]
                page.locator("[data-name=order]").click()
                assert page.locator("#patch-map canvas").bounding_box()["width"] > 100
            page.close()
    assert seen["good"] == seen["spoilt"] == (0, 0)
    assert seen["policy"][0] == 0, "the policy alone stops what an escape would let through"
    assert seen["control"][0] == 1, "and without both it does run"


def test_the_page_saves_what_it_shows_and_shows_what_was_saved(record: dict[str, Any]) -> None:
    session = Session(record)
    with pytest.raises(Refused, match="no finished comparison"):
        save(to_json, Session())
    path = save(to_json, session)
    other = Session()
    message, picture, question, *rest = show(path, other)
    assert message == ""
    assert question == record["question"]
    assert list(picture.size) == [336, 336]
    assert rest[:4] == [True, "resprune", "original", 4]
    chosen = [one.default for name, one in own_options() if name == "resprune"]
    assert rest[4 : 4 + len(chosen)] == chosen
    assert other.record == json.loads(json.dumps(record))
    assert redraw(other) == shown_map(record)
    assert handlers.Shown(*rest[4 + len(own_options()) :]).budget["value"] == 9


def test_a_bad_file_leaves_the_page_as_it_was(record: dict[str, Any], tmp_path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    session = Session(record)
    message, *rest = show(str(tmp_path / "bad.json"), session)
    assert "no report of ResPrune" in message
    assert session.record == record
    assert all(value == {"__type__": "update"} for value in rest)
