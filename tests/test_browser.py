"""The page in a real browser."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import ask, chromium, scrolls_sideways, shoot, watched
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser, Page
from serving import ready, served, slowed

from app.registry import Registry, load_model
from app.scenes import examples

# The canvas's colour at the middle of each patch of a square picture.
MIDDLES = """(side) => {
  const canvas = document.querySelector("#patch-map canvas");
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  const middle = (n, length) => Math.floor(((n + 0.5) * length) / side);
  return [...Array(side * side).keys()].map((i) => {
    const at = 4 * (middle(Math.floor(i / side), height) * width + middle(i % side, width));
    return [...data.slice(at, at + 3)];
  });
}"""
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def address(registry: Registry) -> Iterator[str]:
    with served(registry) as found:
        ready(registry)
        yield found


def budget(page: Page, tokens: int) -> None:
    page.locator("#budget input[type=range]").fill(str(tokens))


def text(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def test_a_question_is_answered_twice_and_all_of_it_is_seen_at_once(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.wait_for_selector(".model.ready")
        shoot(page, "ready")
        ask(page)
        assert text(page, ".panel.full .answer")
        assert text(page, ".panel.pruned .answer")
        assert text(page, ".panel.full .count") == "all 576 visual tokens"
        assert text(page, ".panel.pruned .count") == "128 of 576 visual tokens"
        assert "4.5\N{MULTIPLICATION SIGN}" in text(page, ".verdict")
        assert "butterfly" in text(page, "#nouns")
        assert "\N{EN DASH}" not in text(page, ".panel.full .figures") + text(page, ".panel.pruned .figures")
        assert page.locator("#patch-map canvas").is_visible()
        assert page.locator("#chart svg.main-svg").first.bounding_box()["height"] > 150
        assert page.locator("#chart .bars path").count() >= 7, "each stage of both sides has a bar"
        boxes = [page.locator(part).bounding_box() for part in ("#times", "#nouns")]
        assert max(box["y"] + box["height"] for box in boxes) <= 900, "nothing important lies below a laptop's screen"
        assert not scrolls_sideways(page)
        shoot(page, "answered")


def test_the_slider_redraws_exactly_the_kept_patches_without_the_server(browser: Browser, address: str) -> None:
    example = examples()[0]
    picture = handle_file(example.path)
    answer = Client(address, verbose=False).predict(picture, example.question, "128", api_name="/compare")
    kept = [row * 24 + col for _, row, col in answer[2]["pruned"]["kept"]]
    with watched(browser, address) as page:
        ask(page)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        colours = {}
        for tokens in (576, 128, 40):
            budget(page, tokens)
            colours[tokens] = np.array(page.evaluate(MIDDLES, 24), dtype=int)
        assert requests == []
        for tokens in (128, 40):
            unchanged = (colours[tokens] == colours[576]).all(1)
            assert set(np.flatnonzero(unchanged)) == set(kept[:tokens])
        assert page.locator("#patch-map .readout").text_content().startswith("40 of 576")
        assert "The answer used 128" in text(page, "#patch-map .hint")
        shoot(page, "slider")


def test_only_what_the_model_saw_of_a_wide_picture_is_bright(browser: Browser, address: str, tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 300, 3), 200, np.uint8)).save(tmp_path / "wide.png")
    with watched(browser, address) as page:
        upload(page, tmp_path / "wide.png")
        budget(page, 576)
        ask(page, "What is this?")
        red = np.array(page.evaluate(MIDDLES, 30))[:, 0].reshape(30, 30)  # of a canvas three times as wide as high
        assert (red[:, 10:20] == 200).all(), "the middle third was seen"
        assert (red[:, :9] < 150).all() and (red[:, 21:] < 150).all(), "the rest was cropped away"
        assert "cut off before the model saw" in text(page, "#patch-map .hint")
        budget(page, 200)
        shoot(page, "wide-picture")


def test_stop_frees_the_device_and_the_next_question_is_answered(
    browser: Browser, address: str, registry: Registry
) -> None:
    with watched(browser, address) as page, slowed(registry, 0.4) as began:
        page.click("#ask")
        page.wait_for_selector(".panel.full[data-stage=decode]")
        page.click("#stop")
        page.wait_for_selector(".panel.full[data-stage=stopped]")
        stopped = time.monotonic()
        shoot(page, "stopped")
        page.wait_for_timeout(1500)
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
    with watched(browser, address) as page, slowed(registry, 0.4):
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


def upload(page: Page, path: Path) -> None:
    """Clear the picture as a user would, and choose another file."""
    if page.locator("#picture img").count():
        page.get_by_label("Remove Image").click()
        page.wait_for_selector("#picture img", state="detached")
    page.locator("#picture input[type=file]").set_input_files(path)
    page.wait_for_selector("#picture img")


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
        page.wait_for_function("document.querySelector('#question textarea').value.includes('cars')")
        page.wait_for_selector(".message", state="detached")
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
        assert page.evaluate("window.hacked") is None
        assert page.locator("#nouns b, #nouns img, #answers b, #answers img").count() == 0


def test_two_visitors_get_each_their_own(browser: Browser, address: str) -> None:
    with watched(browser, address) as one, watched(browser, address) as other:
        budget(one, 64)
        budget(other, 200)
        other.locator("#examples button").nth(1).click()
        other.wait_for_function("document.querySelector('#question textarea').value.includes('cars')")
        for page in (one, other):
            page.click("#ask")
        other.wait_for_selector(".panel.full[data-stage]:not([data-stage=idle])")
        for page, tokens, noun in ((one, 64, "butterfly"), (other, 200, "cars")):
            page.wait_for_selector(".panel.pruned[data-stage=done]")
            assert text(page, ".panel.pruned .count") == f"{tokens} of 576 visual tokens"
            assert noun in text(page, "#nouns")


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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1440, 900), (2560, 1440)])
def test_it_fits_every_screen(browser: Browser, address: str, width: int, height: int, theme: str) -> None:
    with watched(browser, address, width, height, theme) as page:
        assert not scrolls_sideways(page)
        ask(page)
        assert not scrolls_sideways(page)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", background)[:3])) < 60) == (theme == "dark")
        shoot(page, f"{width}-{theme}", full=True)
