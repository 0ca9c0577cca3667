"""Stories in a real browser, on a tiny model: looked through, presented full screen, run live."""

import pytest
from browser import scrolls_sideways, shoot, watched
from playwright.sync_api import Browser, Page
from serving import small_registry

from app.registry import Registry
from app.stories.deck import stories

DRAWN = "() => document.querySelector('.deck canvas').toDataURL()"
TITLE = ".deck > header h2"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return small_registry()


def title(page: Page, number: int) -> None:
    """Wait for the story of that number."""
    page.wait_for_function(
        "([part, text]) => document.querySelector(part)?.textContent === text", arg=[TITLE, stories()[number].title]
    )


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Stories").click()
    title(page, 0)


def test_six_stories_are_presented_with_the_keyboard_alone(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.click("#present")
        page.wait_for_selector("#stories.presenting")
        title(page, 0)
        for number in range(6):
            title(page, number)
            shoot(page, f"story-{number + 1}")
            assert page.locator(".deck .run:visible").count() == len(stories()[number].runs)
            assert page.locator(".deck .panel:visible").count() == 2 * len(stories()[number].runs)
            page.keyboard.press("ArrowRight")
        title(page, 5)
        page.keyboard.press("ArrowLeft")
        title(page, 4)
        page.keyboard.press("Home")
        title(page, 0)
        page.keyboard.press("End")
        title(page, 5)
        page.keyboard.press("Escape")
        page.wait_for_selector("#stories:not(.presenting)")
        page.keyboard.press("ArrowLeft")
        title(page, 4)


def test_a_subspace_grows_when_it_is_played(browser: Browser, address: str) -> None:
    growing = next(i for i, story in enumerate(stories()) if story.grows)
    most = len(stories()[growing].runs[0].record["map"]["kept"])
    with watched(browser, address) as page:
        open_tab(page)
        assert not page.locator(".deck .play").is_visible()
        page.locator(".deck .dots button").nth(growing).click()
        title(page, growing)
        page.wait_for_function(f"document.querySelector('.deck .run:first-child .readout b')?.textContent === '{most}'")
        page.wait_for_timeout(500)  # the picture is decoded
        before = page.evaluate(DRAWN)
        page.click(".deck .play")
        page.wait_for_function("Number(document.querySelector('.deck .run:first-child .readout b').textContent) === 4")
        assert page.evaluate(DRAWN) != before
        page.click(".deck .play")
        stopped = int(page.locator(".deck .run:first-child .readout b").text_content())
        page.wait_for_timeout(400)
        assert int(page.locator(".deck .run:first-child .readout b").text_content()) == stopped < most, "it pauses"
        page.click(".deck .play")
        page.wait_for_function(f"document.querySelector('.deck .run:first-child .readout b').textContent === '{most}'")
        assert page.locator(".deck .play").text_content() == "Play"
        assert f"{most} tokens hold" in page.locator(".deck .growth p").text_content()
        slider = page.locator("#budget input[type=range]").input_value()
        assert slider == "128", "the comparison above has a slider of its own"


def test_a_story_is_run_live_and_goes_with_its_story(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        open_tab(page)
        page.locator(".deck .dots button").nth(4).click()
        title(page, 4)
        page.click(".deck .run-live")
        page.wait_for_function("document.querySelectorAll('#live .panel[data-stage=done]').length === 4")
        assert page.locator("#live .mark").count() == 4
        assert "Live run" in page.locator("#live").inner_text()
        shoot(page, "story-live")
        page.click(".deck .back")
        title(page, 3)
        page.wait_for_selector("#live .panel", state="detached")


def test_a_presenter_s_remote_works_whatever_has_the_focus(browser: Browser, address: str) -> None:
    """Which sends PageDown and PageUp; and what a key does on a part of the deck stays with that part."""
    with watched(browser, address) as page:
        page.click("#present")
        page.wait_for_selector("#stories.presenting")
        title(page, 0)
        page.click(".deck .next")
        title(page, 1)
        for part in ("button.back", "button.run-live", "button.full-screen", "canvas"):
            for key, there in (("PageDown", 2), ("PageUp", 1)):
                page.locator(f".deck {part}:visible").first.focus()
                page.keyboard.press(key)
                title(page, there)
        for key, there in (("ArrowRight", 2), ("ArrowLeft", 1), ("End", 5), ("Home", 0)):
            page.locator(".deck .full-screen").focus()
            page.keyboard.press(key)
            title(page, there)
        page.keyboard.press("PageDown")
        title(page, 1)

        page.locator(".deck .run-live").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#live .panel[data-stage=done]")
        assert page.evaluate("document.activeElement.className").count("run-live")
        page.keyboard.press("PageDown")
        title(page, 2)
        for _ in range(3):
            page.click(".deck .next")
        title(page, 5)  # where the button has become useless under the pointer
        page.keyboard.press("PageUp")
        title(page, 4)

        page.locator(".deck .full-screen").focus()
        page.keyboard.press("Control+ArrowLeft")  # which is the browser's own
        page.keyboard.press("ArrowLeft")
        title(page, 3)

        growing = next(i for i, story in enumerate(stories()) if story.grows)
        page.locator(".deck .dots button").nth(growing).click()
        title(page, growing)
        slider = page.locator(".deck .own-budget input:visible").first
        slider.focus()
        before = int(slider.input_value())
        page.keyboard.press("ArrowLeft")
        assert int(slider.input_value()) == before - 1, "its arrows are its own"
        page.keyboard.press("PageUp" if growing else "PageDown")
        title(page, growing - 1 if growing else 1)


def test_the_space_bar_presses_the_button_that_has_the_focus_once(browser: Browser, address: str) -> None:
    growing = next(i for i, story in enumerate(stories()) if story.grows)
    with watched(browser, address) as page:
        page.click("#present")
        title(page, 0)
        page.locator(".deck .dots button").nth(growing).click()
        title(page, growing)
        page.locator(".deck .play").focus()
        page.keyboard.press("Space")
        page.wait_for_function("document.querySelector('.deck .play').textContent === 'Pause'")


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (2560, "light")])
def test_every_story_fits_every_screen(browser: Browser, address: str, width: int, theme: str) -> None:
    with watched(browser, address, width=width, height=900, theme=theme) as page:
        page.click("#present")  # a narrow page hides the tabs in a menu
        title(page, 0)
        page.keyboard.press("Escape")
        page.wait_for_selector("#stories:not(.presenting)")
        for number in range(6):
            page.locator(".deck .dots button").nth(number).click()
            title(page, number)
            assert not scrolls_sideways(page)
        page.locator("#stories").scroll_into_view_if_needed()
        shoot(page, f"stories-{width}-{theme}")
