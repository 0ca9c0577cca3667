"""The pictures of README, taken from the page as it is: ``make screenshots``."""

from pathlib import Path

from browser import ask, chromium, watched
from playwright.sync_api import Page
from serving import ready, served

from app.registry import Registry

ASSETS = Path(__file__).parents[1] / "assets"


def page_picture(page: Page) -> None:
    """Both answers and all that is said of them, live."""
    ask(page)
    page.wait_for_timeout(600)
    page.screenshot(path=ASSETS / "page.png")


def map_picture(page: Page) -> None:
    """The patch map: what is kept, and how near each patch lies to a noun."""
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#patch-map canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.06)
    page.wait_for_timeout(300)
    page.locator("#stage").screenshot(path=ASSETS / "map-kept.png")
    page.mouse.move(5, 5)
    page.click(".modes [data-name=relevance]")
    page.wait_for_timeout(300)
    page.locator("#stage").screenshot(path=ASSETS / "map-relevance.png")


def sweep_picture(page: Page) -> None:
    """A sweep of all methods at four budgets."""
    page.get_by_role("tab", name="Sweep").click()
    page.click("#sweep-run")
    page.wait_for_selector(".sweep-progress.over")
    page.wait_for_timeout(1200)
    page.locator("#more").screenshot(path=ASSETS / "sweep.png")


def story_picture(page: Page) -> None:
    """The story of mass, as it is presented."""
    page.click("#present")
    page.wait_for_selector("#stories.presenting .deck.ready")
    page.locator(".deck .dots button").nth(4).click()
    page.wait_for_timeout(1200)
    page.screenshot(path=ASSETS / "story.png")


def main() -> None:
    registry = Registry()
    with served(registry) as address, chromium() as browser:
        ready(registry)
        with watched(browser, address) as page:
            page.wait_for_selector(".model.ready")
            page_picture(page)
            map_picture(page)
            sweep_picture(page)
            story_picture(page)


if __name__ == "__main__":
    main()
