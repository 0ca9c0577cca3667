"""The patch map of tiles and merged grids in a real browser, on small models: what is bright is what was kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from browser import ask, shoot, watched
from gradio_client import Client, handle_file
from playwright.sync_api import Browser
from serving import served, small_registry
from tiny import picture

from resprune.layouts import boxes

SIZE = (180, 120)
QUESTION = "Is there a dog?"
# The canvas's colour at points of the picture, whose size the canvas has in pixels of its own.
COLOURS = """([points, [width, height]]) => {
  const canvas = document.querySelector("#patch-map canvas");
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return points.map(([x, y]) => {
    const at = [Math.floor((x * canvas.width) / width), Math.floor((y * canvas.height) / height)];
    return [...copy.getImageData(...at, 1, 1).data.slice(0, 3)];
  });
}"""


@pytest.mark.parametrize(("family", "views"), [("llava_next", ["Whole", "Detail"]), ("qwen2_5_vl", [])])
def test_what_is_bright_in_each_view_is_what_was_kept_there(
    browser: Browser, tmp_path: Path, family: str, views: list[str]
) -> None:
    picture(0, *SIZE).save(tmp_path / "noise.png")
    registry = small_registry(zoo.tiny, family=family)
    with served(registry) as address, watched(browser, address) as page:
        file = handle_file(tmp_path / "noise.png")
        answer = Client(address, verbose=False).predict(file, QUESTION, "12", api_name="/compare")
        kept, every = ([tuple(c) for c in answer[2][side]["kept"]] for side in ("pruned", "full"))
        page.uncheck("#mass input")
        page.click("#patch-map .change")
        page.locator("#picture input[type=file]").set_input_files(tmp_path / "noise.png")
        page.wait_for_selector("#picture img")
        page.locator("#budget input[type=range]").fill("12")
        ask(page, QUESTION)
        assert page.locator(".views button").all_inner_texts() == (views or ["Whole"])
        assert page.locator(".views").is_visible() == bool(views)
        where = boxes(registry.loaded.processor, SIZE, torch.tensor(every))
        for number, name in enumerate(views or ["Whole"]):
            if views:
                page.locator(".views button").nth(number).click()
            here = [n for n, (tile, *_) in enumerate(every) if (tile > 0) == (name == "Detail")]
            middles = (where[here, :2] + where[here, 2:]) / 2
            shown = {}
            for tokens in (len(every), 12):
                page.locator("#budget input[type=range]").fill(str(tokens))
                shown[tokens] = np.array(page.evaluate(COLOURS, [middles.tolist(), list(SIZE)]))
            bright = (shown[12] == shown[len(every)]).all(1)
            assert bright.tolist() == [every[n] in kept for n in here], name
            assert not bright.all()
            shoot(page, f"map-{family}-{name.lower()}")
