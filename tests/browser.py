"""A real Chromium, and pages in it that notice what a page of ours must never do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90_000  # milliseconds; a busy machine is slow, a broken page is slow for ever
LOUD = ("error", "warning")
GRADIOS_OWN = "Method not implemented."  # its client warns so each time that it closes an upload's progress
# What Gradio says of a stream that ends because its page is left.
GRADIOS_FAREWELL = ("signal is aborted without reason", "Connection errored out")
SCREENSHOTS = Path(__file__).parents[1] / "screenshots"
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


def chromium_path() -> str:
    """The browser that ``CHROMIUM`` names, else the first one on the path. Without one these tests fail."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise FileNotFoundError(f"There is no browser; install one of {', '.join(NAMES)}, or name one in CHROMIUM.")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; as root it runs without its sandbox, which needs a user of its own."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=options)
        yield browser
        browser.close()


@contextmanager
def watched(
    browser: Browser, address: str, width: int = 1440, height: int = 900, theme: str = "light"
) -> Iterator[Page]:
    """A page at ``address`` that must not complain in its console, nor ask another host for anything."""
    complaints: list[str] = []
    visits: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda m: complaints.append(m.text) if m.type in LOUD and m.text != GRADIOS_OWN else None)
    page.on("framenavigated", lambda frame: visits.append(frame.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if _own(r.url, address) else complaints.append(f"request to {r.url}"))
    try:
        page.goto(f"{address}?__theme={theme}")
        page.wait_for_selector("#ask")
        yield page
    finally:
        page.close()
    if len(visits) > 1:  # the page was loaded anew
        complaints = [said for said in complaints if not any(words in said for words in GRADIOS_FAREWELL)]
    assert complaints == [], "\n".join(complaints)


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def ask(page: Page, question: str | None = None) -> None:
    """Ask, and wait for both answers and all that is said of them."""
    if question is not None:
        page.locator("#question textarea").fill(question)
    page.evaluate("document.querySelectorAll('.panel').forEach((panel) => (panel.dataset.old = ''))")
    page.click("#ask")
    page.wait_for_selector(".panel.pruned[data-stage=done]:not([data-old])")
    page.wait_for_selector(".differences:not([aria-busy=true]) li")
    page.wait_for_selector("#times .bartext", state="attached")
    page.wait_for_selector("#ask:not([disabled])")


def upload(page: Page, path: Path) -> None:
    """Clear the picture as a user would, and choose another file."""
    if page.locator("#patch-map canvas").is_visible():
        page.click("#patch-map .change")
        page.wait_for_selector("#picture img", state="detached")
    page.locator("#picture input[type=file]").set_input_files(path)
    page.wait_for_selector("#picture img")


def budget(page: Page, tokens: int) -> None:
    page.locator("#budget input[type=range]").fill(str(tokens))


def text(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def pixels(page: Page, side: int = 24) -> np.ndarray:
    """The canvas's colour at the middle of each patch."""
    return np.array(page.evaluate(MIDDLES, side), dtype=int)


def mode(page: Page, name: str) -> None:
    page.click(f".modes [data-name={name}]")


def over(page: Page, patch: int, side: int = 24) -> tuple[float, float]:
    """Where the middle of a patch is on the screen."""
    box = page.locator("#patch-map canvas").bounding_box()
    row, col = divmod(patch, side)
    return box["x"] + (col + 0.5) * box["width"] / side, box["y"] + (row + 0.5) * box["height"] / side


def shoot(page: Page, name: str, full: bool = False) -> None:
    """Store a screenshot, which a person is to look at, where the environment asks for it (``SHOOT=1``)."""
    if not os.environ.get("SHOOT"):
        return
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(400)  # transitions end
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)


def scrolls_sideways(page: Page) -> bool:
    """Whether any part of the page lies right of the window."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")
