"""Inspect many and Report in a real browser, on a tiny model: what it says is noise, and how it is shown is not."""

import csv
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import ask, scrolls_sideways, shoot, watched
from PIL import Image
from playwright.sync_api import Browser, Page
from serving import served
from tiny import picture

from app.registry import Registry

HOSTILE = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def address(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RESPRUNE_JOBS", str(tmp_path_factory.mktemp("jobs")))
        with served(registry) as found:
            yield found


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures with names that are no markup, one file that is none, and a table that asks about them."""
    folder = tmp_path_factory.mktemp("upload")
    rows = [{"image": f"{n}.png", "question": f"What is {n}? {HOSTILE}"} for n in range(5)]
    rows += [{"image": "none.png", "question": "What?"}, {"image": "5.png", "question": ""}]
    with zipfile.ZipFile(folder / "many.zip", "w") as archive:
        for n in range(5):
            picture(n).save(folder / "picture.png")
            archive.write(folder / "picture.png", f"{n}.png")
        archive.writestr("5.png", b"no picture")
        archive.writestr("questions.jsonl", "\n".join(map(json.dumps, [*rows, {"image": "5.png", "question": "Why?"}])))
    return folder / "many.zip"


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def start(page: Page, upload: Path, keep: int = 3) -> None:
    """Set the budget, upload, and start."""
    page.locator("#budget input[type=range]").fill(str(keep))
    tab(page, "Inspect many")
    page.locator("#inspect-files input[type=file]").set_input_files(upload)
    page.wait_for_selector("#inspect-files .file")
    page.click("#inspect-start")


def open_report(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#report-open")
    chooser.value.set_files(path)


def test_many_are_asked_shown_filtered_judged_and_saved(browser: Browser, address: str, upload: Path) -> None:
    with watched(browser, address) as page:
        start(page, upload)
        page.wait_for_selector(".job[data-state=done]")
        page.wait_for_selector(".result:nth-child(6)")
        said = page.locator(".job").inner_text()
        assert "6 of 6 answered" in said and "1 not answered" in said and "2 left out" in said
        page.locator(".job summary").click()
        assert "line 7: field question" in page.locator(".job details").inner_text()
        assert page.evaluate("window.hacked") is None
        assert not scrolls_sideways(page)
        shoot(page, "inspect-results", full=True)

        page.get_by_label("Not answered").click()
        page.wait_for_selector(".result:only-child")
        assert "no picture that can be read" in page.locator(".result .why").inner_text()
        page.get_by_label("Different answers").click()
        page.wait_for_selector(".result.different:nth-child(2)")
        different = page.locator(".result").count()
        assert page.locator(".result.different").count() == different
        page.get_by_label("Most changed first").click()

        assert not page.locator("#inspect-csv-file").is_visible()
        with page.expect_download() as saved:
            page.click("#inspect-csv")
        assert saved.value.suggested_filename == "resprune-results.csv"
        with Path(saved.value.path()).open(newline="", encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 6

        tab(page, "Blind vote")
        page.wait_for_selector(".pair")
        assert "Pruned" not in page.locator(".pair").inner_text() and "full" not in page.locator(".pair").inner_html()
        shoot(page, "inspect-vote")
        for _ in range(different):
            before = page.locator(".pair").get_attribute("data-item")
            page.click("#inspect-vote-a")
            page.wait_for_selector(f".pair:not([data-item='{before}']), #inspect-pair .job-empty")
        assert "0 to judge" in page.locator(".tally").inner_text()
        assert "95 % interval" in page.locator(".tally").inner_text()


def test_a_job_is_paused_and_found_again_when_the_page_is_opened_again(
    browser: Browser, address: str, upload: Path, registry: Registry
) -> None:
    slow = registry.loaded.model.model.language_model.register_forward_pre_hook(lambda *_: time.sleep(0.15))
    try:
        with watched(browser, address, 390, 844) as page:
            start(page, upload)
            page.wait_for_selector(".job[data-state=running]")
            shoot(page, "inspect-running")
            page.click("#inspect-pause")
            page.wait_for_selector(".job[data-state=paused]")
            page.reload()
            tab(page, "Inspect many")
            page.wait_for_selector(".job[data-state=paused]")
            assert not scrolls_sideways(page)
            page.click("#inspect-resume")
            page.wait_for_selector(".job[data-state=running]")
            page.click("#inspect-cancel")
            page.wait_for_selector(".job[data-state=cancelled]")
            page.click("#inspect-delete")
            page.wait_for_selector("#inspect-status .job-empty")
        with watched(browser, address) as page:
            tab(page, "Inspect many")
            assert page.locator("#inspect-key input, #inspect-key textarea").first.input_value() == ""
    finally:
        slow.remove()


def test_a_bad_start_is_said_and_the_next_one_runs(browser: Browser, address: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    Image.new("RGB", (30, 30), "red").save(tmp_path / "red.png")
    with watched(browser, address) as page:
        start(page, tmp_path / "notes.txt")
        page.wait_for_selector("#inspect-message .message")
        assert "notes.txt: is neither a picture nor a table" in page.locator("#inspect-message").inner_text()
        page.locator("#inspect-files [aria-label='Clear']").first.click()
        start(page, tmp_path / "red.png")
        page.wait_for_selector(".job[data-state=done]")
        assert page.locator("#inspect-message .message").count() == 0


def test_a_report_is_saved_and_its_data_show_the_same_page_again(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    with watched(browser, address) as page:
        page.locator("#budget input[type=range]").fill("5")
        ask(page, "What is <b>this</b>?")
        shown = {
            part: page.locator(part).inner_text()
            for part in (".verdict", ".panel.full", ".panel.pruned", "#differences")
        }
        tab(page, "Report")
        shoot(page, "report-tab")
        for kind in ("html", "json"):
            with page.expect_download() as saved:
                page.click(f"#report-{kind}")
            saved.value.save_as(tmp_path / saved.value.suggested_filename)
    with watched(browser, address) as page:
        tab(page, "Report")
        open_report(page, tmp_path / "resprune-report.json")
        page.wait_for_function("document.querySelector('#question textarea').value.includes('<b>')")
        page.wait_for_function("document.querySelector('#patch-map .readout').textContent.startsWith('5 of 36')")
        assert shown == {part: page.locator(part).inner_text() for part in shown}
        (tmp_path / "changed.json").write_text(
            (tmp_path / "resprune-report.json").read_text().replace("What is", "Who is")
        )
        open_report(page, tmp_path / "changed.json")
        page.wait_for_selector("#report-message .message")
        assert "changed or damaged" in page.locator("#report-message").inner_text()
        assert shown == {part: page.locator(part).inner_text() for part in shown}, "the page stays as it was"
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((tmp_path / "resprune-report.html").as_uri())
    page.wait_for_selector("#patch-map canvas")
    shoot(page, "report", full=True)
    page.close()
