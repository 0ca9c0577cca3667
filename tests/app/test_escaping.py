"""Whatever a tampered report holds stays text on the page, in a real browser; and a login closes the page."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import chromium, watched
from serving import served
from test_report import HOSTILE, hostile
from test_report import record as record  # a fixture

from app.registry import Registry
from app.report.files import RECORD, SUM, _sum, to_json


def tampered(record: dict[str, Any]) -> str:
    """A comparison as a report, with script in each text that its schema lets be any text."""
    report = json.loads(to_json(record))
    kept = report[RECORD]
    spoilt = hostile(kept)
    spoilt["options"] = kept["options"]
    for name in ("full", "pruned"):
        spoilt[name]["notes"] = spoilt[name]["nouns"] = [HOSTILE]
    for change in spoilt["differences"] or []:
        change.update(text=HOSTILE, instead=HOSTILE)
    report[RECORD], report[SUM] = spoilt, _sum(spoilt)
    return json.dumps(report)


def test_script_in_every_text_of_an_opened_report_stays_text_on_the_page(
    registry: Registry, record: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(tampered(record), encoding="utf-8")
    with chromium() as browser, served(registry) as address, watched(browser, address) as page:
        page.get_by_role("tab", name="Report", exact=True).click()
        with page.expect_file_chooser() as chooser:
            page.click("#report-open")
        chooser.value.set_files(tmp_path / "a.json")
        page.wait_for_function("document.querySelector('#question textarea').value.includes('window.hacked')")
        page.wait_for_function("document.querySelector('.panel.full .answer').textContent.includes('window.hacked')")
        page.wait_for_timeout(1000)
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src=x], [onerror]").count() == 0
        assert "<script>" in page.locator(".panel.pruned .answer").inner_text()
        control = "<img src='data:image/png;base64,AAAA' onerror='window.hacked=1'>"
        page.locator(".panel.full .answer").evaluate("(place, markup) => { place.innerHTML = markup }", control)
        page.wait_for_function("window.hacked === 1")  # what is looked for above would be found


def test_without_the_login_nothing_is_answered(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPRUNE_AUTH", "ann:secret")
    with served(registry) as address, httpx.Client(base_url=address, timeout=60) as web:
        asked = [
            web.post("gradio_api/call/report_open", json={"data": [None]}),
            web.post("gradio_api/upload", files={"files": ("a.png", b"x")}),
            web.get("gradio_api/info"),
            web.post("login", data={"username": "ann", "password": "wrong"}),
        ]
        assert [answer.status_code for answer in asked] == [401, 401, 401, 400]
        assert web.post("login", data={"username": "ann", "password": "secret"}).status_code == 200
        assert web.post("gradio_api/call/report_open", json={"data": [None]}).status_code == 200
