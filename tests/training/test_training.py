"""The training of the bundled model: a few steps of it, its resumption, and what it must never do."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from resprune.models.hub import assets_dir
from resprune.world.questions import questions
from resprune.world.scenes import Composer
from training.batches import IGNORED, Batches, centres, on_canvas
from training.export import export
from training.network import begin_from, normalise, patch_features, window
from training.optimise import publish
from training.pointing import READING_LAYER, attend, counting_loss, pointing_loss
from training.train import SMOKE, STAGES, Student, run_stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(assets_dir() / "sprites")


@pytest.fixture(scope="module")
def student(composer: Composer) -> Student:
    return Student(composer)


def batches(composer: Composer, student: Student, **changes: Any) -> Batches:
    sizes = {"seed": 5, "steps": 1, "batch": 1, "side": 168, "shares": {}, "answers": True}
    return Batches(composer, student.tokenizer, **sizes | changes)


@pytest.mark.slow
def test_the_smoke_size_runs_and_exports_a_model_that_loads(tmp_path: Path) -> None:
    train = [sys.executable, "-m", "training.train", "--smoke", "--out", str(tmp_path)]
    subprocess.run(train, check=True, cwd=ROOT, capture_output=True, timeout=300)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == [stage.name for stage in SMOKE]
    assert all(np.isfinite(line["patch_loss"]) for line in lines)
    checkpoint = tmp_path / f"{SMOKE[-1].name}.pt"
    export = [sys.executable, "-m", "training.export", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "hf")]
    subprocess.run(export, check=True, cwd=ROOT, capture_output=True, timeout=300)
    from resprune import load

    model, processor = load(str(tmp_path / "hf"))
    saved = torch.load(checkpoint, weights_only=True)["masters"]
    assert sum(m.numel() for m in saved) > sum(p.numel() for p in model.parameters()) - 1
    assert processor.image_processor.crop_size["height"] == 336


@pytest.mark.slow
def test_training_resumes_where_it_stopped(tmp_path: Path, composer: Composer) -> None:
    stage = SMOKE[0]

    def masters(folder: Path) -> list[torch.Tensor]:
        return torch.load(folder / f"{stage.name}.pt", weights_only=True)["masters"]

    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    run_stage(stage, Student(composer), composer, whole, scenes=1)

    class Interrupted(Exception):
        pass

    def interrupt(done: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_stage(stage, Student(composer), composer, halves, scenes=1, save_every=1, after_step=interrupt)
    interrupted = masters(halves)
    run_stage(stage, Student(composer), composer, halves, scenes=1)
    assert all(torch.equal(a, b) for a, b in zip(masters(whole), masters(halves), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(interrupted, masters(halves), strict=True))


def test_the_training_path_sees_what_the_stock_model_sees(composer: Composer, student: Student) -> None:
    """The tower written out for windows equals the stock one on a whole picture; another place gives another result."""
    model = student.model.float()
    pixels = composer.scene((1, 2, 3)).pixels[None]
    places = window(torch.zeros(1, 2, dtype=torch.long), 24)
    with torch.no_grad():
        ours = patch_features(model, normalise(pixels), places)
        stock = model.model.vision_tower(pixel_values=normalise(pixels), output_hidden_states=True).hidden_states[-2]
        shuffled = patch_features(model, normalise(pixels), places.flip(1))
    assert torch.allclose(ours, stock[:, 1:], atol=1e-4)
    assert not torch.allclose(shuffled, stock[:, 1:], atol=1e-1)


def test_packed_questions_equal_questions_asked_alone(composer: Composer, student: Student) -> None:
    """Questions packed behind one picture do not see each other; without the mask between them they would."""
    student.float()
    batch = batches(composer, student)[0]
    packed = batch.text
    with torch.no_grad():
        _, visual = student.see(batch.pixels, batch.places)
        together, targets = student.answer_logits(visual, packed)
        blind = dict(packed)
        length, total = packed["mask"].shape[-2:]
        causal = torch.ones(total, total, dtype=torch.bool).tril()[-length:]
        blind["mask"] = torch.zeros_like(packed["mask"]).masked_fill(~causal, -1e9)
        leaky, _ = student.answer_logits(visual, blind)
    first = int((packed["targets"][0] == student.tokenizer.eos_token_id).nonzero()[0]) + 1
    alone = {k: v[:, :first] if k in ("ids", "targets") else v for k, v in packed.items()}
    size = packed["mask"].shape[-1] - packed["ids"].shape[1] + first
    alone["mask"], alone["positions"] = packed["mask"][..., :first, :size], packed["positions"][:, :size]
    with torch.no_grad():
        single, _ = student.answer_logits(visual, alone)
    answered = len(single)
    assert torch.allclose(together[:answered], single, atol=1e-4)
    assert not torch.allclose(together[answered:], leaky[answered:], atol=1e-2)
    assert (targets != IGNORED).all()


def test_no_visual_token_is_ever_dropped(composer: Composer, student: Student) -> None:
    """Every stage shows the model each patch of the picture that it is given, in raster order."""
    for stage in STAGES:
        told = ("seed", "side", "shares", "answers")
        found = batches(composer, student, batch=2, **{name: getattr(stage, name) for name in told})
        grid = stage.side // 14
        for places in found[0].places:
            rows, columns = places // 24, places % 24
            assert len(places) == grid * grid
            assert (rows.reshape(grid, grid).diff(dim=0) == 1).all()
            assert (columns.reshape(grid, grid).diff(dim=1) == 1).all()
    assert STAGES[-1].side == 336


@pytest.mark.parametrize(
    ("offset", "possible"),
    [
        ((0, 0), {"Top left.", "Top.", "Left.", "Middle."}),
        ((12, 12), {"Middle.", "Right.", "Bottom.", "Bottom right."}),
    ],
)
def test_a_window_asks_where_on_the_full_picture(composer: Composer, offset: tuple, possible: set) -> None:
    scenes = [composer.scene((1, 2, i), side=168) for i in range(30)]
    places = {q.answer for s in scenes for q in questions(composer, on_canvas(s, offset), 0)["where"]}
    assert len(places) > 2 and places <= possible
    assert not {q.answer for s in scenes for q in questions(composer, s, 0)["where"]} <= possible


def test_an_objects_patches_share_one_vote(composer: Composer, student: Student) -> None:
    """The right parts cost nothing, and each patch voting for itself costs much."""
    student.float()
    batch = batches(composer, student, answers=False)[0]
    near = (-0.5 * batch.centres.square().sum(2)).exp()
    same = (batch.owners[:, :, None] == batch.owners[:, None]).float()
    right = (near / (same @ near[..., None]).squeeze(2)).log().clamp_min(-5)

    def loss(votes: torch.Tensor) -> float:
        told = SimpleNamespace(vote=lambda visual: votes[..., None])
        return float(Student.vote_loss(told, batch.centres, batch))

    assert loss(right) < 0.05  # not nothing: the far patches' parts end at the least one
    assert loss(torch.zeros_like(right)) > 0.5


def test_colours_and_categories_are_pointed_at_where_they_are_asked_for(composer: Composer, student: Student) -> None:
    scene = next(s for i in range(50) for s in [composer.scene((1, 4, i))] if any(t.colour for t in s.things))
    asked, prompt = questions(composer, scene, 0), student.prompt
    shown = prompt.shown(scene)
    places = window(torch.zeros(1, 2, dtype=torch.long), 24)

    def named(kind: str, starting: str = "") -> set[int]:
        question = next(q for q in asked[kind] if q.answer.startswith(starting))
        return set(prompt.pack(places, [[question]])["named"][0].tolist()) - {-1}

    assert named("coloured", "Yes") <= set(shown.ravel().tolist())
    assert named("coloured", "Yes") & set(shown[1].tolist()), "the colour"
    assert named("category") & set(shown[2].tolist()), "the category"


def test_each_patch_of_an_object_is_told_where_its_middle_lies(composer: Composer) -> None:
    scene = composer.scene((1, 2, 3))
    offsets = centres(scene)
    for number, thing in enumerate(scene.things):
        rows, columns = np.nonzero(scene.owners == number)
        assert len(rows)
        assert np.allclose((columns + 0.5 + offsets[rows, columns, 0]) * 14, thing.x)
        assert np.allclose((rows + 0.5 + offsets[rows, columns, 1]) * 14, thing.y)
        assert ((scene.nouns[rows, columns] == thing.noun) | bool(thing.text)).all()
    assert (offsets[scene.owners < 0] == 0).all()


class TestPointing:
    """Two text tokens behind one token of prefix and four patches: two of object 0, one of object 1, one of neither."""

    shown = torch.tensor([[[7, 7, 7, 3], [-1, -1, 9, -1]]])
    owners = torch.tensor([[0, 0, 1, 2]])

    def losses(self, row: list[float], named: int) -> tuple[float, float]:
        weights = torch.zeros(1, 4, 2, 7)
        weights[..., 0, :5] = torch.tensor(row)
        layer = SimpleNamespace(self_attn=SimpleNamespace(weights=weights))
        model = SimpleNamespace(layers=[layer] * 4)
        text = {"named": torch.tensor([[named, -1]]), "said": torch.tensor([[named, -1]])}
        return (
            float(pointing_loss(model, text, self.shown)) / 2,
            float(counting_loss(model, text, self.shown, self.owners)) / 3,
        )

    def test_attention_on_the_nouns_patches_costs_nothing(self) -> None:
        assert self.losses([0, 0.5, 0.25, 0.25, 0], 7)[0] == pytest.approx(0)
        assert self.losses([0.5, 0, 0, 0, 0.5], 7)[0] > 5

    def test_a_colour_is_looked_for_where_it_is_seen(self) -> None:
        assert self.losses([0, 0, 0, 1, 0], 9)[0] == pytest.approx(0)
        assert self.losses([0, 0, 1, 0, 0], 9)[0] > 5

    def test_of_what_is_not_there_the_first_tokens_are_looked_at(self) -> None:
        assert self.losses([1, 0, 0, 0, 0], 5) == (pytest.approx(0), pytest.approx(0))
        assert self.losses([0, 1, 0, 0, 0], 5)[0] > 5

    def test_counting_shares_attention_by_objects_and_not_by_patches(self) -> None:
        third = 1 / 3
        assert self.losses([third, third / 2, third / 2, third, 0], 7)[1] == pytest.approx(0, abs=1e-6)
        by_patches = self.losses([0.25, 0.25, 0.25, 0.25, 0], 7)[1]
        assert by_patches == pytest.approx(third * np.log(third / 0.25) * 2 + third * np.log(third / 0.5))
        assert by_patches > 0.03


def test_the_texts_attention_is_that_of_the_whole_masked_sequence(composer: Composer, student: Student) -> None:
    """The picture's rows are causal and the text's have their mask; written out, that is one mask for all."""
    student.float()
    module = SimpleNamespace(layer_idx=READING_LAYER)
    query, key, value = torch.randn(3, 1, 2, 9, 8)
    mask = torch.zeros(1, 1, 3, 9)
    mask[..., 0, 7:] = mask[..., 1, 8:] = mask[..., 2, 6:8] = -1e9
    full = torch.full((9, 9), -1e9).triu(1)
    full[6:] = mask[0, 0]
    expected = ((query * 0.5) @ key.transpose(2, 3) + full).softmax(-1) @ value
    for layer in (READING_LAYER, READING_LAYER + 1):
        module.layer_idx = layer
        found, _ = attend(module, query, key, value, mask, 0.5)
        assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)
    assert module.weights.shape == (1, 2, 3, 9)
    assert not torch.allclose(attend(module, query, key, value, mask * 0, 0.5)[0], expected.transpose(1, 2), atol=1e-2)


def test_letters_are_tokens_of_their_own_on_signs_only(composer: Composer, student: Student) -> None:
    """What is read from a sign points at its letters; an article is no letter."""
    scenes = (composer.scene((1, 3, i)) for i in range(50))
    scene = next(s for s in scenes if any(t.text for t in s.things))
    asked = questions(composer, scene, 0)
    read, other = asked["sign"][0], asked["present"][0]
    places = window(torch.zeros(1, 2, dtype=torch.long), 24)
    text = next(t.text for t in scene.things if t.text)
    said = student.prompt.pack(places, [[read]])["said"][0].tolist()
    assert [composer.glyphs[s - len(composer.words)] for s in said if s >= len(composer.words)] == [text[0], *text]
    assert max(student.prompt.pack(places, [[other]])["named"][0].tolist()) < len(composer.words)


def test_an_earlier_models_words_are_known_again(composer: Composer, student: Student, tmp_path: Path) -> None:
    earlier = Student(composer, seed=1)
    export(earlier, tmp_path)
    begin_from(student.model.float(), student.tokenizer, tmp_path)
    table, before = (s.model.get_input_embeddings().weight for s in (student, earlier))
    dog = student.tokenizer.encode(" dog")[0]
    assert torch.equal(table[dog], before[dog].float())
    assert not torch.equal(table[dog], Student(composer).model.get_input_embeddings().weight[dog])


def test_batches_depend_on_seed_and_step_alone(composer: Composer, student: Student) -> None:
    def batch(step: int) -> np.ndarray:
        return batches(composer, student, steps=9, batch=2, shares={"dense": 0.5})[step].pixels

    assert np.array_equal(batch(4), batch(4))
    assert not np.array_equal(batch(4), batch(5))


def test_every_linear_layer_can_be_quantised(student: Student) -> None:
    layers = [m for m in student.model.model.language_model.modules() if isinstance(m, torch.nn.Linear)]
    assert layers
    assert all(m.in_features % 64 == 0 and m.out_features % 32 == 0 for m in layers)


def test_publish_rounds_the_masters() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    publish([torch.tensor([1.0, 1.001])], [parameter])
    assert parameter.tolist() == [1.0, 1.0]
