"""The parts of the page by themselves: its words, its chart, its patch map, its examples."""

import json
import re
from collections import Counter
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import zoo
from PIL import Image
from tiny import picture

from app import charts, differences, handlers, panels
from app.figures import compared, duration, memory_of
from app.methods import LARGEST, OURS, component, method_text, own_options, page_methods, values_of
from app.patch_map import data_address, map_value
from app.registry import Progress, Registry
from app.scenes import examples, new_scene, questions_for
from app.session import Run, Side
from app.stored import stored_run, stored_runs
from app.sweep import views
from app.theme import FULL, PRUNED
from resprune.compare.comparison import compare
from resprune.layouts import boxes
from resprune.settings import Settings

HOSTILE = "<img src=x onerror='hacked()'> & {{value}} ${value}"


def answer(**changes) -> SimpleNamespace:
    """An answer of the full side, with round figures."""
    facts = {"answer": "a penguin", "tokens_total": 576, "tokens_kept": 576, "encode_ms": 30.0, "select_ms": 0.0}
    facts |= {"prefill_ms": 90.0, "ttft_ms": 125.0, "total_ms": 325.0, "kv_bytes": 4_000_000}
    facts |= {"peak_bytes": 5_000_000, "mass": False}
    return SimpleNamespace(**facts | changes)


def pruned(**changes) -> SimpleNamespace:
    facts = {"tokens_kept": 144, "select_ms": 10.0, "prefill_ms": 20.0, "kv_bytes": 1_000_000}
    return answer(**facts | changes)


@pytest.mark.parametrize(
    ("full", "pruned", "said"),
    [(90, 30, ("3.0", "faster")), (30, 36, ("1.2", "slower")), (50, 49, ("1.0", "same")), (0, 5, ("1.0", "same"))],
)
def test_worse_is_said_as_plainly_as_better(full: float, pruned: float, said: tuple[str, str]) -> None:
    assert compared(full, pruned, "faster", "slower", "same") == said


def test_figures_have_units_and_three_digits_or_so() -> None:
    assert [duration(ms) for ms in (3.14, 34.4, 1240)] == ["3.1 ms", "34 ms", "1.24 s"]
    assert [memory_of(count) for count in (640_000, 12_345_678, 2_500_000_000)] == ["640 kB", "12.3 MB", "2.50 GB"]


def test_the_verdict_counts_selection_against_the_pruned_side() -> None:
    said = plain(panels.verdict((answer(), pruned(mass=True))))
    assert "4.0\u00d7 fewer 144 of 576 visual tokens with mass" in said
    assert "3.0\u00d7 faster prefill, selection included" in said
    assert "4.0\u00d7 smaller KV memory" in said
    assert "= same answer" in said
    slower = plain(panels.verdict((answer(), pruned(select_ms=160.0, answer="a duck"))))
    assert "2.0\u00d7 slower prefill, selection included" in slower
    assert "with mass" not in slower
    assert "different answer" in slower


def plain(markup: str) -> str:
    """The words of some HTML."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", markup)).replace("\xa0", " ").split())


def test_there_is_no_verdict_on_half_a_run() -> None:
    run = Run()
    run.sides = {"full": Side("done", "a penguin", answer()), "pruned": Side("decode", "a peng")}
    assert run.answers is None
    assert "\u00d7" not in plain(panels.verdict(run.answers))


CHANGES = [
    {"text": "a", "full": 0.9, "pruned": 0.9, "instead": None},
    {"text": " <b>cat", "full": 0.8, "pruned": 0.1, "instead": " d<i>og"},
    {"text": "", "full": 0.2, "pruned": 0.6, "instead": None},
]


def test_where_answers_differ_is_said_in_words_shades_and_points() -> None:
    said = differences.strip({"differences": CHANGES})
    assert [kind in said for kind in ('class="same"', 'class="less"', 'class="more"')] == [True] * 3
    assert "\u221270" in plain(said) and "+40" in plain(said)
    assert "80% with all tokens, 10% with the kept ones" in plain(said)
    assert "1 of 3 tokens would be another word" in plain(said)
    assert differences.END in said
    assert "<b>cat" not in said and "<i>og" not in said
    assert "No probability changed" in differences.strip({"differences": CHANGES[:1]})
    assert "appears here" in differences.strip(None)


def test_the_curve_marks_the_budget() -> None:
    captured = [1 - 0.5**n for n in range(1, 577)]
    figure = charts.energy(captured, 3)
    assert (figure.data[1].x, figure.data[1].y) == ((3,), (captured[2],))
    assert len(figure.data[0].x) <= charts.MOST_POINTS + 3
    assert charts.energy(captured, 1000).data[1].x == (576,)
    assert charts.energy(None, 3) is None


def test_the_page_offers_methods_of_the_library_and_each_has_a_look() -> None:
    from resprune.methods import built_in

    assert set(OURS) == set(views.LOOKS) < set(built_in())  # ablations are for studies


def trial(method: str | None, kept: int, text: str, agreement: float) -> SimpleNamespace:
    settings = method and SimpleNamespace(method=SimpleNamespace(name=method))
    return SimpleNamespace(settings=settings, answer=pruned(answer=text, tokens_kept=kept), agreement=agreement)


def test_a_sweep_is_a_table_of_answers_and_two_charts() -> None:
    trials = [trial(None, 576, "two", 1), trial("resprune", 16, "two", 1), trial("random", 16, HOSTILE, 0)]
    trials += [trial("random", 16, "two", 1), trial("random", 32, "two", 1)]
    table = views.table(trials)
    assert table.count("<tr>") == 3
    assert "<img" not in table
    assert "\u2260 50%" in plain(table) and "= same" in plain(table)
    line = next(t for t in views.agreement(trials).data if t.name == "Random")
    assert (list(line.x), list(line.y)) == ([16, 32], [0.5, 1])
    assert (line.error_y.array[0], line.error_y.arrayminus[0]) == (0.5, 0.5)
    line = next(t for t in views.spent(trials).data if t.name == "ResPrune")
    used = trials[1].answer
    assert (list(line.x), list(line.y)) == ([16], [used.select_ms + used.prefill_ms])
    assert views.spent(trials).layout.shapes[0].y0 == trials[0].answer.prefill_ms, "the full prefill, to compare"
    assert views.table([]) == "" and views.agreement([]) is views.spent([]) is None


def test_the_legend_of_a_sweep_names_each_method_once_by_its_sign() -> None:
    said = views.legend()
    assert [plain(item) for item in said.split("<li>")[1:]] == list(page_methods().values())
    for colour, sign, dash in views.LOOKS.values():
        assert f'fill="{colour}"' in said and views.SIGNS[sign] in said and f'"{views.DASHES[dash]}"' in said


def test_what_users_and_models_write_never_becomes_markup() -> None:
    loading, failed = Registry(HOSTILE), Registry(HOSTILE)
    loading.progress = Progress(0.5, HOSTILE)
    failed.failure = HOSTILE
    failed._finished.set()
    said = [
        panels.panel("full", Side("done", HOSTILE, answer(answer=HOSTILE))),
        panels.notes([HOSTILE]),
        panels.message(HOSTILE),
        *(
            say({"full": {"model": HOSTILE}, "made": HOSTILE, "machine": HOSTILE})
            for say in (panels.live, panels.stored)
        ),
        panels.model_status(loading),
        panels.model_status(failed),
        views.progress(1, 2, HOSTILE),
    ]
    for html in said:
        assert "<img" not in html
        assert "&lt;img" in html


def test_the_chart_adds_up_to_each_sides_total_in_its_own_colour() -> None:
    full, less = answer(), pruned(total_ms=200.0)
    bars = charts.times(full, less).data
    assert [trace.name for trace in bars] == ["encode", "select", "prefill", "decode"]
    assert sum(trace.x[0] for trace in bars) == pytest.approx(less.total_ms)
    assert sum(trace.x[1] for trace in bars) == pytest.approx(full.total_ms)
    for colour, row in ((PRUNED, 0), (FULL, 1)):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert all(trace.marker.color[row].startswith(f"rgba({red}, {green}, {blue}") for trace in bars)


def drawn_on(model, processor, settings: Settings, size: tuple[int, int] = (90, 60)) -> tuple[dict, Any]:
    """The map of an answer of a small model, and the last update of its pruned side."""
    image = picture(0, *size)
    updates = list(compare(model, processor, image, "What animal is it?", settings, max_new_tokens=2))
    return map_value(image, "What animal is it?", updates[-1], processor), updates[-1]


@pytest.mark.parametrize("size", [(90, 60), (50, 100)])
def test_the_map_of_every_family_has_the_boxes_of_the_library_and_an_owner_for_each_patch(family, size) -> None:
    model, processor = zoo.tiny(family)
    value, update = drawn_on(model, processor, Settings(keep=0.3, mass=True), size)
    json.dumps(value)
    count = len(value["order"])
    assert value["size"] == list(size)
    assert len(value["boxes"]) == len(value["places"]) == len(value["owner"]) == len(value["ranks"]) == count
    assert value["kept"] == value["order"][: len(value["kept"])]
    assert [tuple(value["places"][patch]) for patch in value["kept"]] == update.prune.kept
    expected = boxes(processor, size, update.prune.coords)
    assert torch.tensor(value["boxes"]).sub(expected).abs().max() < 0.01
    mass = Counter(value["owner"])
    assert sum(mass.values()) == count and mass[None] == count - update.prune.mass.sum()
    assert [mass[patch] for patch in value["kept"]] == update.prune.mass.int().tolist()
    k = len(value["kept"])
    last = [max((r for r in ranks if max(r, -1 - r) < k), key=lambda r: max(r, -1 - r)) for ranks in value["ranks"]]
    shown = [value["order"][r] if r >= 0 else None for r in last]
    assert shown == value["owner"], "the slider at the answer's budget shows the answer"


def test_the_map_tells_what_the_method_does_not_know(tiny) -> None:
    for method, nested in (("uniform", False), ("random", True)):
        value, _ = drawn_on(*tiny, Settings(keep=9, method=method, mass=True))
        assert (value["energy"], value["captured"], value["auto"], value["relevance"]) == (None, None, None, {})
        assert value["nested"] is nested
        assert (value["ranks"] is not None) is nested
        assert set(value["owner"]) - {None} == set(value["kept"])
    value, _ = drawn_on(*tiny, Settings(keep=9))
    assert value["owner"] is None and value["ranks"] is None, "without mass each token stands for itself"


def test_the_automatic_budget_of_the_map_is_that_of_the_library(tiny) -> None:
    _, update = drawn_on(*tiny, Settings(keep="auto"))
    value, _ = drawn_on(*tiny, Settings(keep=20))
    assert value["auto"] == update.prune.tokens_kept


def test_a_picture_is_sent_no_larger_than_it_is_drawn() -> None:
    sent = data_address(Image.new("RGB", (2000, 1000), "red"))
    assert sent.startswith("data:image/jpeg;base64,")
    assert len(sent) < 20_000


def test_examples_and_a_new_scene_come_with_questions() -> None:
    assert len(examples()) >= 6
    assert all(example.path.is_file() and example.question.endswith("?") for example in examples())
    assert all(1 <= len(questions_for(example)) <= 3 for example in examples())
    image, questions = new_scene()
    assert image.width > 0
    assert all(question.endswith(("?", ".")) for question in questions)


def test_each_example_has_a_stored_run_that_the_page_can_show() -> None:
    runs = stored_runs()
    for example in examples():
        record = stored_run(example, runs)
        assert record is not None, f"run make stored: there is no stored run of {example}"
        assert record["full"]["model"] == "bundled"
        shown = handlers.show(record, panels.stored(record))
        assert "Stored run" in shown.origin
        assert 'data-stage="done"' in shown.pruned


def test_a_stored_run_of_another_picture_or_question_is_not_shown() -> None:
    record = {"picture": "gone.png", "question": "What is it?"}
    assert stored_run(examples()[0], {("gone.png", "What is it?"): record}) is None
    assert "appears here" in handlers.show(None).full


def test_the_fields_of_a_method_are_made_from_what_it_declares() -> None:
    made = {(method, one.name): component(method, one) for method, one in own_options()}
    assert {method for method, _ in made} == {"resprune", "cdpruner", "random"}  # the others have no options
    alpha, sign, kernel = (made["resprune", name] for name in ("alpha", "sign", "kernel"))
    assert (alpha.minimum, alpha.maximum, alpha.step, alpha.value) == (0, 64, 1, 8)
    assert [value for _, value in sign.choices] == [1, -1]
    assert [value for _, value in kernel.choices] == ["raw", "centred", "normalised", "both"]
    assert (made["random", "seed"].minimum, made["random", "seed"].maximum) == (0, LARGEST)
    assert all(field.info for field in made.values())


def test_fields_and_texts_of_methods_say_the_same() -> None:
    values = [one.default for _, one in own_options()]
    places = {(method, one.name): i for i, (method, one) in enumerate(own_options())}
    assert method_text("resprune", tuple(values)) == "resprune" and method_text("divprune", tuple(values)) == "divprune"
    values[places["resprune", "alpha"]], values[places["cdpruner", "words"]] = 4, "all"
    assert method_text("resprune", tuple(values)) == "resprune:alpha=4"
    assert method_text("cdpruner", tuple(values)) == "cdpruner:words=all"
    name, fields = values_of("resprune:alpha=4")
    assert (
        name == "resprune" and fields[places["resprune", "alpha"]] == 4 and fields[places["cdpruner", "words"]] != "all"
    )
    assert values_of("norm") is None, "the page does not offer it"
