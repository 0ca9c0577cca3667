"""Stories: a deck to look through, or to present full screen."""

from collections.abc import Iterator

import gradio as gr

from app.comparison import AT_ONCE, HIDDEN, Comparison
from app.patch_map import SCRIPTS, STATIC
from app.registry import Registry
from app.stories.deck import shown, stories
from app.stories.live import live

PRESENT = STATIC / "present.js"
RUNS = 2  # at most, of a story


def build_stories(registry: Registry, comparison: Comparison) -> None:
    """Build the tab inside the one that is open."""
    with gr.Column(elem_id="stories"):
        deck = gr.HTML(
            html_template=template(),
            js_on_load=script(),
            apply_default_css=False,
            elem_id="deck",
        )
        answers = gr.HTML(elem_id="live", apply_default_css=False)
    # The deck is sent when it is first seen: most visitors never open it.
    deck.select(lambda: [shown(story) for story in stories()], None, deck, **AT_ONCE)

    def run_live(event: gr.EventData) -> Iterator[str]:  # Gradio gives an event only to what is no partial
        yield from live(registry, event._data)

    run = deck.apply(run_live, None, answers, concurrency_id="device", concurrency_limit=1, **HIDDEN)
    deck.clear(lambda: "", None, answers, cancels=run, **AT_ONCE)


def build_present() -> gr.Button:
    """The button that opens the deck full screen, inside the column that is open."""
    return gr.Button("Present", size="sm", elem_id="present")


def wire(present: gr.Button, tabs: gr.Tabs, tab: str) -> None:
    """Let the button open the tab of that id, which a narrow page hides in a menu, and then the deck."""
    opened = present.click(lambda: gr.Tabs(selected=tab), None, tabs, **AT_ONCE)
    opened.then(None, js=PRESENT.read_text(encoding="utf-8"), api_visibility="private")


def template() -> str:
    """The deck's HTML, with the places of its runs, and in each the patch map's."""
    run = _read("story_run.html").replace("<!-- map -->", _read("patch_map.html"))
    return _read("stories.html").replace("<!-- runs -->", run * RUNS)


def script() -> str:
    """The deck's script, which makes patch maps by the function that the map's own scripts become."""
    parts = "\n".join(map(_read, (*SCRIPTS, "stories_words.js")))
    return f"function patchMap(element, props, trigger, upload, watch) {{\n{parts}\n}}\n{_read('stories.js')}"


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
