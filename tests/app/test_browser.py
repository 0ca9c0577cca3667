"""The page in a real browser."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import MIDDLES, ask, budget, scrolls_sideways, shoot, text, upload, watched
from PIL import Image
from playwright.sync_api import Browser
from serving import served, slowed

from app.registry import Registry, load_model
from app.scenes import examples

# Notes every stage that either panel names.
WATCH_STAGES = """() => {
  window.stages = [[""], [""]];
  const note = () => ["full", "pruned"].forEach((side, i) => {
    const stage = document.querySelector(`.panel.${side} .stage`)?.textContent ?? "";
    if (stage !== window.stages[i].at(-1)) window.stages[i].push(stage);
  });
  const options = { childList: true, subtree: true, characterData: true };
  new MutationObserver(note).observe(document.querySelector("#answers"), options);
}"""
FILE_EVENT = """([target, kind, bytes, name, type]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const where = document.querySelector(target);
  const init = { bubbles: true, cancelable: true };
  where.dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { ...init, clipboardData: transfer })
    : new DragEvent("drop", { ...init, dataTransfer: transfer }));
}"""


SCREENS = [(390, 844), (820, 1180), (1440, 900), (2560, 1440)]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def test_nobody_meets_an_empty_page_and_the_first_click_replaces_what_was_stored(
    browser: Browser, address: str
) -> None:
    with watched(browser, address) as page:
        page.wait_for_selector("#times .bartext", state="attached")
        assert "Stored run" in text(page, "#origin")
        assert text(page, ".panel.full .answer") and text(page, ".panel.pruned .answer")
        assert page.locator(".differences li").count() > 0
        assert page.locator("#patch-map canvas").is_visible()
        page.wait_for_selector(".model.ready")
        shoot(page, "stored")
        ask(page)
        assert "Live run" in text(page, "#origin")
        assert page.locator(".stored").count() == 0
        assert text(page, ".panel.full .answer")
        assert text(page, ".panel.full .count") == "all 576 visual tokens"
        assert text(page, ".panel.pruned .count") == "128 of 576 visual tokens"
        assert "4.5\N{MULTIPLICATION SIGN}" in text(page, ".verdict")
        assert "\N{EN DASH}" not in text(page, ".panel.full .figures") + text(page, ".panel.pruned .figures")
        for chart in ("times", "memory", "energy"):
            assert page.locator(f"#{chart} svg.main-svg").first.bounding_box()["height"] > 150
        assert page.locator("#times .bars path").count() >= 7, "each stage of both sides has a bar"
        for part in ("#ask", "#verdict", "#answers", "#differences", "#budget"):
            box = page.locator(part).bounding_box()
            assert box["y"] + box["height"] <= 900, f"{part} lies below a laptop's screen"
        assert not scrolls_sideways(page)
        shoot(page, "answered")
        page.click(".help summary")
        shoot(page, "help")


def test_every_example_is_answered_already(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        # the first last: its question stands there from the start, and would tell nothing of the click
        for number in (1, 2, 0):
            example = examples()[number]
            page.locator("#examples button").nth(number).click()
            page.wait_for_function(
                "(q) => document.querySelector('#question textarea').value === q", arg=example.question
            )
            page.wait_for_selector(".origin.stored")
            assert page.locator(".panel.pruned[data-stage=done]").count() == 1
        page.locator("#suggested button").first.click()
        page.wait_for_function("(q) => document.querySelector('#question textarea').value !== q", arg=example.question)


def test_a_sweep_runs_with_progress_and_is_cancelled(browser: Browser, address: str, registry: Registry) -> None:
    with watched(browser, address) as page:
        page.wait_for_selector(".model.ready")
        page.get_by_role("tab", name="Sweep").click()
        page.fill("#sweep-budgets input, #sweep-budgets textarea", "16, 64")
        page.click("#sweep-run")
        page.wait_for_selector(".sweep-progress.over")
        assert "15 of 15 answers" in text(page, ".sweep-progress")
        assert page.locator(".sweep-table tbody tr").count() == 5
        assert page.locator("#sweep-charts .scatterlayer .trace").count() == 10
        shoot(page, "sweep", full=True)
        with slowed(registry, 0.2):
            page.click("#sweep-run")
            page.wait_for_selector(".sweep-table td:not(:empty)")
            page.click("#sweep-cancel")
            page.wait_for_selector(".sweep-progress.over")
        assert "stopped" in text(page, ".sweep-progress")
        ask(page)


def test_stop_frees_the_device_and_the_next_question_is_answered(
    browser: Browser, address: str, registry: Registry
) -> None:
    with watched(browser, address) as page, slowed(registry, 1.5) as began:
        page.click("#ask")
        page.wait_for_selector(".panel.full[data-stage=decode]")
        page.click("#stop")
        page.wait_for_selector(".panel.full[data-stage=stopped]")
        stopped = time.monotonic()
        shoot(page, "stopped")
        page.wait_for_timeout(2500)
        assert sum(moment > stopped for moment in began) <= 1, "the device goes on after Stop"
        assert page.locator(".panel.pruned[data-stage=stopped]").is_visible()
    with watched(browser, address) as page:
        ask(page)


def test_closing_the_tab_frees_the_device(browser: Browser, address: str, registry: Registry) -> None:
    with slowed(registry, 0.4) as began:
        with watched(browser, address) as page:
            page.click("#ask")
            page.wait_for_selector(".panel.full:is([data-stage=encode], [data-stage=prefill], [data-stage=decode])")
        closed = time.monotonic()
        with registry.lend():
            passed = time.monotonic() - closed
        assert passed < 5
        count = len(began)
        time.sleep(1)
        assert len(began) == count


def test_waiting_is_never_blank(browser: Browser, address: str, registry: Registry) -> None:
    with watched(browser, address) as page, slowed(registry, 1.5):
        page.evaluate(WATCH_STAGES)
        page.click("#ask")
        page.wait_for_selector(".panel.full[data-stage=decode]")
        shoot(page, "streaming")
        page.wait_for_selector(".panel.pruned[data-stage=decode]")
        page.click("#stop")
        page.wait_for_selector(".panel.pruned[data-stage=stopped]")
        full, pruned = page.evaluate("window.stages")
        waiting, common = ["waiting for its turn", "encoding the picture"], ["reading the question", "answering"]
        assert full == ["", *waiting, *common, ""]
        assert pruned == ["", "waiting for the full answer", "choosing tokens", *common, "stopped"]


def test_a_file_that_is_no_picture_is_named_and_the_next_question_is_answered(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    with watched(browser, address) as page:
        upload(page, tmp_path / "broken.png")
        page.click("#ask")
        page.wait_for_selector(".message")
        assert "no picture" in text(page, ".message")
        shoot(page, "refused")
        page.locator("#examples button").nth(1).click()
        page.wait_for_selector(".message", state="detached")
        page.wait_for_selector("#picture img", state="attached")
        ask(page)


@pytest.mark.parametrize(("kind", "target"), [("paste", "body"), ("drop", "#stage")])
def test_a_picture_is_pasted_or_dropped_on_the_one_before(
    browser: Browser, address: str, tmp_path, kind, target
) -> None:
    Image.new("RGB", (60, 40), (0, 200, 0)).save(tmp_path / "green.png")
    with watched(browser, address) as page:
        ask(page)
        file = [target, kind, list((tmp_path / "green.png").read_bytes()), "green.png", "image/png"]
        page.evaluate(FILE_EVENT, file)
        page.wait_for_selector("#patch-map canvas", state="hidden")
        page.wait_for_function("document.querySelector('#picture img')?.naturalWidth === 60")
        page.wait_for_selector(".panel.full[data-stage=idle]")
        ask(page, "What colour is it?")
        budget(page, 576)
        assert page.evaluate(MIDDLES, 3)[4] == pytest.approx([0, 200, 0], abs=4)


def test_another_picture_can_be_chosen_from_the_map_and_composed(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        ask(page)
        page.click("#patch-map .change")
        page.wait_for_selector("#picture input[type=file]", state="attached")
        shoot(page, "no-picture")
        page.click("#ask")
        page.wait_for_selector(".message")
        assert "no picture yet" in text(page, ".message")
        page.click("#new-scene")
        page.wait_for_selector("#picture img")
        ask(page)


def test_what_a_user_types_never_becomes_markup(browser: Browser, address: str) -> None:
    question = "Is <img src=x onerror='window.hacked=1'> {{value}} ${window.hacked=1} a guitar <b>or</b> a dog?"
    with watched(browser, address) as page:
        ask(page, question)
        page.wait_for_timeout(300)
        page.locator(".asked button").first.click()
        assert page.evaluate("window.hacked") is None
        assert page.locator(".asked b, #ask-side img[src=x], #answers b, #answers img").count() == 0
        assert "<img src=x" in text(page, ".asked")


def test_two_visitors_get_each_their_own(browser: Browser, address: str) -> None:
    with watched(browser, address) as one, watched(browser, address) as other:
        budget(one, 64)
        budget(other, 200)
        other.locator("#examples button").nth(1).click()
        other.wait_for_function(
            "(q) => document.querySelector('#question textarea').value === q", arg=examples()[1].question
        )
        for page in (one, other):
            page.evaluate("document.querySelectorAll('.panel').forEach((panel) => (panel.dataset.old = ''))")
            page.click("#ask")
        other.wait_for_selector(".panel.full[data-stage]:not([data-old])")
        for page, tokens, example in ((one, 64, examples()[0]), (other, 200, examples()[1])):
            page.wait_for_selector(".panel.pruned[data-stage=done]:not([data-old])")
            page.wait_for_selector("#ask:not([disabled])")
            assert text(page, ".panel.pruned .count") == f"{tokens} of 576 visual tokens"
            assert text(page, ".asked").split() == example.question.split()


def test_the_page_is_there_while_the_model_loads_and_a_question_waits(browser: Browser) -> None:
    go_on = threading.Event()

    def slow(model_id: str) -> Iterator:
        steps = load_model(model_id)
        yield next(steps)
        go_on.wait(60)
        return (yield from steps)

    with served(Registry(load=slow)) as address, watched(browser, address) as page:
        page.wait_for_selector(".model.loading progress")
        page.click("#ask")
        page.wait_for_function(
            "document.querySelector('.panel.full .stage')?.textContent.includes('waiting for the model')"
        )
        shoot(page, "loading")
        go_on.set()
        page.wait_for_selector(".panel.pruned[data-stage=done]")
        page.wait_for_selector(".model.ready")
        page.locator("#choice input").click()
        page.wait_for_selector("#choice ul li")
        assert page.locator("#choice ul li").count() > 20, "the models of the catalogue, each with its memory"
        assert all(re.search(r"\d [MG]B$", line.strip()) for line in page.locator("#choice ul li").all_inner_texts())
        shoot(page, "models")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_every_screen(browser: Browser, address: str, theme: str) -> None:
    with watched(browser, address, 1440, 900, theme) as page:
        ask(page)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", background)[:3])) < 60) == (theme == "dark")
        for width, height in SCREENS:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(300)
            assert not scrolls_sideways(page), width
            assert page.locator(".js-plotly-plot .legend").count() == 0, "it would stay where it was, over the bars"
            shoot(page, f"{width}-{theme}", full=True)
