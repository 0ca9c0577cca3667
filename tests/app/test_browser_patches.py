"""The patch map in a real browser: what it draws, tells, and lets a visitor choose."""

import re
from pathlib import Path

import numpy as np
import pytest
from browser import ask, budget, mode, over, pixels, shoot, text, upload, watched
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser

from app.registry import Registry
from app.scenes import examples

# Milliseconds of each of a hundred moves of the slider, one a frame: the map, the readout and all that goes with them.
REDRAWS = """async () => {
  const range = document.querySelector("#budget input[type=range]");
  const taken = [];
  for (let n = 0; n < 100; n++) {
    await new Promise(requestAnimationFrame);
    range.value = 1 + (n * 37) % 576;
    const began = performance.now();
    range.dispatchEvent(new Event("input", { bubbles: true }));
    taken.push(performance.now() - began);
  }
  return taken;
}"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def test_the_slider_redraws_exactly_the_kept_patches_without_the_server(browser: Browser, address: str) -> None:
    example = examples()[0]
    picture = handle_file(example.path)
    answer = Client(address, verbose=False).predict(picture, example.question, "128", api_name="/compare")
    kept = [row * 24 + col for _, row, col in answer[2]["pruned"]["kept"]]
    with watched(browser, address) as page:
        page.uncheck("#mass input")
        ask(page)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        colours = {}
        for tokens in (576, 128, 40):
            budget(page, tokens)
            colours[tokens] = pixels(page)
        assert requests == []
        for tokens in (128, 40):
            unchanged = (colours[tokens] == colours[576]).all(1)
            assert set(np.flatnonzero(unchanged)) == set(kept[:tokens])
        assert page.locator("#patch-map .readout").text_content().startswith("40 of 576")
        assert "The answer used 128" in text(page, "#patch-map .hint")
        page.click("#patch-map .auto")
        wanted = int(text(page, "#patch-map .auto").split()[-1])
        page.wait_for_function("(n) => document.querySelector('#budget input[type=number]').value == n", arg=wanted)
        assert page.locator("#patch-map .readout b").text_content() == str(wanted)


def test_the_map_shows_order_energy_and_relevance_and_tells_of_the_patch_under_the_pointer(
    browser: Browser, address: str
) -> None:
    with watched(browser, address) as page:
        ask(page)
        drawn = {}
        for name in ("kept", "order", "energy", "relevance"):
            mode(page, name)
            drawn[name] = pixels(page)
            shoot(page, f"map-{name}")
        names = list(drawn)
        assert all((drawn[a] != drawn[b]).any() for n, a in enumerate(names) for b in names[:n])
        page.locator(".asked button").first.click()
        assert page.locator(".asked button[aria-pressed=true]").count() == 1
        assert page.locator(".modes [aria-pressed=true]").get_attribute("data-name") == "relevance"
        mode(page, "kept")
        page.mouse.move(*over(page, 0))
        told = text(page, "#patch-map .about")
        assert all(word in told for word in ("Rank", "of 576", "Residual energy", "Near", "Box 0, 0 to"))
        page.locator("#patch-map summary").click()
        page.wait_for_selector("#patch-map tbody tr:nth-child(128)")  # a browser tells of the opening afterwards
        rows = page.locator("#patch-map tbody tr")
        assert rows.count() == 128
        stands = [int(row) for row in page.locator("#patch-map tbody td:nth-last-child(2)").all_inner_texts()]
        assert sum(stands) == 576, "the kept patches stand for all"
        first = re.findall(r"\d+", rows.first.locator("td").first.inner_text())
        patch = (int(first[0]) - 1) * 24 + int(first[1]) - 1
        page.mouse.move(*over(page, patch))
        assert "Kept" in text(page, "#patch-map .about") and "1 of 576" in text(page, "#patch-map .about")
        shoot(page, "map-hover")


def test_patches_are_added_and_removed_by_pointer_and_keys_and_answered_with(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        budget(page, 40)
        ask(page)
        canvas = page.locator("#patch-map canvas")
        canvas.focus()
        page.keyboard.press("ArrowRight")  # to the first patch
        page.keyboard.press("ArrowRight")
        assert "Box 14, 0 to 28, 14" in text(page, "#patch-map .about")
        page.keyboard.press("ArrowDown")
        before = text(page, "#patch-map .about").split()[0]
        page.keyboard.press("Space")
        assert text(page, "#patch-map .about").split()[0] != before
        count = int(page.locator("#patch-map .readout b").text_content())
        assert count == 41 if before == "Dropped" else 39
        page.mouse.click(*over(page, 300))
        assert int(page.locator("#patch-map .readout b").text_content()) != count
        count = int(page.locator("#patch-map .readout b").text_content())
        page.evaluate("document.querySelectorAll('.panel').forEach((panel) => (panel.dataset.old = ''))")
        page.click(".exactly")
        page.wait_for_selector(".panel.pruned[data-stage=done]:not([data-old])")
        page.wait_for_selector("#ask:not([disabled])")
        assert text(page, ".panel.pruned .count") == f"{count} of 576 visual tokens"
        assert page.locator("#patch-map .readout b").text_content() == str(count)
        budget(page, 64)
        assert page.locator("#patch-map .readout b").text_content() == "64", "the order is still there"
        ask(page)
        assert text(page, ".panel.pruned .count") == "64 of 576 visual tokens"


def test_a_redraw_takes_less_than_a_frame(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.wait_for_selector("#times .bartext", state="attached")
        for name in ("kept", "order", "energy", "relevance"):
            mode(page, name)
            taken = page.evaluate(REDRAWS)
            assert np.median(taken) < 16, name
            print(f"redraw in mode {name}: median {np.median(taken):.2f} ms, most {max(taken):.2f} ms")


def test_only_what_the_model_saw_of_a_wide_picture_is_bright(browser: Browser, address: str, tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 300, 3), 200, np.uint8)).save(tmp_path / "wide.png")
    with watched(browser, address) as page:
        page.uncheck("#mass input")
        upload(page, tmp_path / "wide.png")
        budget(page, 576)
        ask(page, "What is this?")
        red = pixels(page, 30)[:, 0].reshape(30, 30)  # of a canvas three times as wide as high
        assert (red[:, 10:20] == 200).all(), "the middle third was seen"
        assert (red[:, :9] < 150).all() and (red[:, 21:] < 150).all(), "the rest was cropped away"
        assert "cut off before the model saw" in text(page, "#patch-map .hint")
        budget(page, 200)
        shoot(page, "wide-picture")
