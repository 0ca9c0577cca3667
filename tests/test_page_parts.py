"""The parts of the page by themselves: its words, its chart, its patch map, its examples."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from app import chart, panels
from app.figures import compared, duration, memory
from app.patch_map import map_value
from app.registry import Progress
from app.scenes import examples, new_scene
from app.session import Run, Side
from app.theme import FULL, PRUNED

HOSTILE = "<img src=x onerror='hacked()'> & {{value}} ${value}"


def answer(**changes) -> SimpleNamespace:
    """An answer of the full side, with round figures."""
    facts = {"answer": "a penguin", "tokens_total": 576, "tokens_kept": 576, "encode_ms": 30.0, "select_ms": 0.0}
    facts |= {"prefill_ms": 90.0, "ttft_ms": 125.0, "total_ms": 325.0, "kv_bytes": 4_000_000}
    return SimpleNamespace(**facts | changes)


def pruned(**changes) -> SimpleNamespace:
    facts = {"tokens_kept": 144, "select_ms": 10.0, "prefill_ms": 20.0, "kv_bytes": 1_000_000}
    return answer(**facts | changes)


def done(full: SimpleNamespace, pruned: SimpleNamespace) -> Run:
    run = Run()
    run.sides = {"full": Side("done", full.answer, full), "pruned": Side("done", pruned.answer, pruned)}
    return run


@pytest.mark.parametrize(
    ("full", "pruned", "said"),
    [(90, 30, ("3.0", "faster")), (30, 36, ("1.2", "slower")), (50, 49, ("1.0", "same")), (0, 5, ("1.0", "same"))],
)
def test_worse_is_said_as_plainly_as_better(full: float, pruned: float, said: tuple[str, str]) -> None:
    assert compared(full, pruned, "faster", "slower", "same") == said


def test_figures_have_units_and_three_digits_or_so() -> None:
    assert [duration(ms) for ms in (3.14, 34.4, 1240)] == ["3.1 ms", "34 ms", "1.24 s"]
    assert [memory(count) for count in (640_000, 12_345_678, 2_500_000_000)] == ["640 kB", "12.3 MB", "2.50 GB"]


def test_the_verdict_counts_selection_against_the_pruned_side() -> None:
    said = panels.verdict(done(answer(), pruned()))
    assert "<b>4.0&times;</b><span>fewer visual tokens</span>" in said
    assert "<b>3.0&times;</b><span>faster prefill, selection included</span>" in said
    assert "<b>4.0&times;</b><span>less KV memory</span>" in said
    assert "same answer" in said
    slower = panels.verdict(done(answer(), pruned(select_ms=160.0, answer="a duck")))
    assert "<b>2.0&times;</b><span>slower prefill, selection included</span>" in slower
    assert "different answer" in slower


def test_there_is_no_verdict_on_half_a_run() -> None:
    run = done(answer(), pruned())
    run.sides["pruned"] = Side("decode", "a peng")
    assert "&times;" not in panels.verdict(run)


def test_what_users_and_models_write_never_becomes_markup() -> None:
    said = [
        panels.panel("full", Side("done", HOSTILE, answer(answer=HOSTILE))),
        panels.nouns([HOSTILE], [HOSTILE]),
        panels.message(HOSTILE),
        panels.model_status(HOSTILE, Progress(0.5, HOSTILE), None, None),
        panels.model_status(HOSTILE, Progress(0.5, HOSTILE), None, HOSTILE),
    ]
    for html in said:
        assert "<img" not in html
        assert "&lt;img" in html


def test_the_chart_adds_up_to_each_sides_total_in_its_own_colour() -> None:
    full, less = answer(), pruned(total_ms=200.0)
    figure = chart.times(full, less)
    bars = [trace for trace in figure.data if trace.showlegend is False]
    assert [trace.name for trace in bars] == ["encode", "select", "prefill", "decode"]
    assert sum(trace.x[0] for trace in bars) == pytest.approx(less.total_ms)
    assert sum(trace.x[1] for trace in bars) == pytest.approx(full.total_ms)
    for colour, row in ((PRUNED, 0), (FULL, 1)):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert all(trace.marker.color[row].startswith(f"rgba({red}, {green}, {blue}") for trace in bars)


def test_the_map_has_a_box_and_a_place_in_the_order_for_each_patch(tiny) -> None:
    _, processor = tiny
    coords = np.stack([np.zeros(36, int), *np.divmod(np.arange(36), 6)], 1)
    import torch

    prune = SimpleNamespace(order=torch.arange(36).flip(0), coords=torch.from_numpy(coords), tokens_kept=9)
    value = map_value(Image.new("RGB", (2000, 1000), "red"), prune, processor)
    assert value["size"] == [2000, 1000]
    assert value["order"] == list(range(36))[::-1]
    assert value["kept"] == 9
    assert value["boxes"][0] == pytest.approx([500, 0, 500 + 1000 / 6, 1000 / 6], abs=1)
    assert value["src"].startswith("data:image/jpeg;base64,")
    assert len(value["src"]) < 20_000, "the picture is sent no larger than it is drawn"


def test_examples_and_a_new_scene_come_with_a_question() -> None:
    assert len(examples()) >= 6
    assert all(example.path.is_file() and example.question.endswith("?") for example in examples())
    image, question = new_scene()
    assert image.size == (336, 336)
    assert question.endswith("?")
