"""The page about scale: it says what the script prints, and the script's shapes and formulas are right."""

import json
from collections.abc import Callable

import pytest

from benchmarks import held_against
from benchmarks.scale import CARDS_AT_SCALE, OF_PEAK, PAGE, RESULTS, main, questions, tables
from benchmarks.shapes import CARDS, MODELS, encode_work, held_bytes, kv_bytes, prefill_work, tower_weights, weights
from resprune.models.catalogue import CATALOGUE

IDS = {
    "LLaVA-1.5-7B": "llava-hf/llava-1.5-7b-hf",
    "LLaVA-NeXT-7B (Mistral)": "llava-hf/llava-v1.6-mistral-7b-hf",
    "Qwen2.5-VL-7B": "Qwen/Qwen2.5-VL-7B-Instruct",
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The script with its options."""

    def run(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["scale", *options])
        main()

    return run


def test_the_page_says_what_the_script_prints(command: Callable[..., None], capsys: pytest.CaptureFixture) -> None:
    command()
    between = PAGE.read_text(encoding="utf-8").split("<!-- scale: begin -->\n")[1].split("<!-- scale: end -->")[0]
    assert between == capsys.readouterr().out
    assert "| LLaVA-1.5-7B | 64 |" in between


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_those_of_the_checkpoints(name: str) -> None:
    model, entry = MODELS[name], CATALOGUE[IDS[name]]
    assert weights(model) / 1e6 == pytest.approx(entry.quantisable, rel=1e-3)
    all_parameters = held_bytes(model) / 2 + tower_weights(model)
    assert all_parameters / 1e6 == pytest.approx(entry.parameters, rel=5e-3)


def test_work_is_counted_as_by_hand() -> None:
    llava, qwen = MODELS["LLaVA-1.5-7B"], MODELS["Qwen2.5-VL-7B"]
    assert kv_bytes(llava) == 2 * 2 * 32 * 4096 and kv_bytes(qwen) == 2 * 2 * 28 * 4 * 128
    # A token more in a prompt of 640: each weight once, and the tokens before it.
    more = prefill_work(llava, 641) - prefill_work(llava, 640)
    assert more == pytest.approx(2 * weights(llava) + 4 * 32 * 4096 * 640.5)
    tower = 24 * (2 * (4 * 1024**2 + 2 * 1024 * 4096) * 577 + 4 * 1024 * 577**2)
    assert encode_work(llava, 576) == tower + 2 * 576 * (1024 * 4096 + 4096**2)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("name", MODELS)
def test_what_pruning_moves_and_what_it_does_not(name: str, card: str) -> None:
    full, *pruned = questions(name, CARDS[card], 32)
    case = json.loads((RESULTS / f"{MODELS[name].results}.json").read_text())["cases"][name]
    assert [q.kept for q in pruned] == [int(k) for k in case["budgets"]] and full.kept == case["tokens"]
    for q in pruned:
        assert q.encode == full.encode
        assert full.prefill / q.prefill == pytest.approx(case["budgets"][str(q.kept)]["speedup"])
        assert q.at_once > full.at_once
        # In a very large memory so many answers run at once that computing, and no longer reading, is the limit.
        computing = 32 * 2e3 * weights(MODELS[name]) / (OF_PEAK * CARDS[card].peak)
        assert q.decode < full.decode or q.decode == pytest.approx(computing)
        assert q.host == case["ms"][f"selection {q.kept}"]["min"]


def test_price_and_answer_are_what_one_asks_for() -> None:
    assert "3 a card and hour" in tables("L4", 8, 3.0) and "L4, 8 tokens answered" in tables("L4", 8, 3.0)
    full = questions("LLaVA-1.5-7B", CARDS["L4"], 8)[0]
    assert f"| {full.card / 3.6 * 3:.1f} |" in tables("L4", 8, 3.0)
    assert f"{CARDS_AT_SCALE:,} cards" in tables("L4", 8, 3.0)
    assert questions("LLaVA-1.5-7B", CARDS["L4"], 256)[0].decode > 20 * full.decode


@pytest.mark.parametrize("wrong", [("--answer", "0"), ("--price", "-1"), ("--price", "nan"), ("--card", "T4")])
def test_bad_options_are_refused(
    wrong: tuple[str, str], command: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(*wrong)
    assert stopped.value.code == 2 and wrong[1] in capsys.readouterr().err


def test_the_arithmetic_is_held_against_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"full": {"kept": 576, "ttft": [80.0]}, "128": {"kept": 128, "ttft": [40.0], "select": [8.0]}}
    cell = {"model": "LLaVA-1.5-7B", "batch": 8, "tokens": 576, "prompt": 640, "layers": 32, "true_layers": 32}
    report = {"device": "NVIDIA L4", "models": [cell | {"encode": [16.0], "variants": variants | {"128, mass": {}}}]}
    shallow = {"device": "NVIDIA L4", "models": [cell | {"layers": 1}]}
    monkeypatch.setattr(held_against, "newest", lambda: [report, shallow, report | {"device": "Another"}])
    model, compute = MODELS["LLaVA-1.5-7B"], CARDS["L4"].peak * 0.5
    encode, prefill = 1e3 * encode_work(model, 576) / compute, 1e3 * prefill_work(model, 128 + 64) / compute
    _, _, full, pruned = held_against.against_cards(0.5).splitlines()
    assert full.startswith("| LLaVA-1.5-7B, batch of 8, NVIDIA L4 | 576 |") and "/ 10.0 |" in full
    assert f"| {encode:.2f} / 2.00 | {prefill:.1f} /  | {encode + prefill:.1f} / 5.00 | 1.00 |" in pruned
