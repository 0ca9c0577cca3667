"""Budgets that follow the energy, tokens that always stay, and tokens chosen by hand."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from prompts import PROMPTS, TOKENS, difference, generate, hidden_mask, positions_of, prompt_inputs
from tiny import IMAGE, picture

import resprune
from resprune import InputError
from resprune.layouts import boxes
from resprune.methods import Manual, Method, ResPrune, Subspace, VisualTokens
from resprune.seam import choice
from resprune.seam.choice import Asked
from resprune.selection import Selection, greedy_subspace
from resprune.settings import AUTO_LEAST, AUTO_MOST, Mass, Settings


def visual_tokens(count=40, dims=30, seed=0, fall=6.0):
    """Random tokens whose energy falls over the dimensions."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, dims, generator=generator) * torch.linspace(0, -fall, dims).exp()
    side = torch.arange(count)
    return VisualTokens(features, torch.stack([torch.zeros_like(side), side // 8, side % 8], 1))


def choose(tokens, settings, protected):
    return choice.choose([Asked(tokens, settings, protected)])[0]


PROTECTED = torch.tensor([4, 10])


def nothing():
    return torch.zeros(0, dtype=torch.int64)


def captured(features, kept):
    """Share of the energy of all rows that the kept ones span, by least squares."""
    basis = features[kept].T.double()
    solution = torch.linalg.lstsq(basis, features.T.double(), driver="gelsd").solution
    return 1 - (features.T - basis @ solution).square().sum() / features.square().sum()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_an_automatic_budget_is_the_smallest_that_holds_the_share(share):
    tokens = visual_tokens(count=200, dims=100, fall=3.0)
    selection = choose(tokens, Settings(keep="auto", energy=share), nothing())
    k = len(selection.indices)
    assert AUTO_LEAST < k < AUTO_MOST * 200
    directions = torch.nn.functional.normalize(tokens.features, dim=1)  # each token's energy counts the same
    assert captured(directions, selection.order[:k]) >= share - 1e-4
    assert captured(directions, selection.order[: k - 1]) < share + 1e-4
    same = choose(tokens, Settings(keep=k), nothing())
    assert torch.equal(same.chosen, selection.chosen)


def test_an_automatic_budget_has_bounds():
    flat = VisualTokens(torch.eye(40), visual_tokens().coords)
    assert len(choose(flat, Settings(keep="auto", energy=0.99), nothing()).indices) == AUTO_MOST * 40
    alike = VisualTokens(torch.ones(40, 3), visual_tokens().coords)
    assert len(choose(alike, Settings(keep="auto"), nothing()).indices) == AUTO_LEAST
    one = VisualTokens(torch.ones(1, 3), visual_tokens().coords[:1])
    assert choose(one, Settings(keep="auto"), nothing()).chosen.tolist() == [0]


@pytest.mark.parametrize("method", ["resprune", "cdpruner", "divprune", "random", "uniform"])
def test_protected_tokens_stay_and_count_towards_the_budget(method):
    tokens, protected = visual_tokens(), torch.tensor([39, 3])
    selection = choose(tokens, Settings(keep=10, method=method), protected)
    assert len(selection.indices) == len(selection.chosen) == 10
    assert selection.chosen[:2].tolist() == [39, 3]
    assert sorted(selection.order.tolist()) == list(range(40))
    assert set(selection.indices.tolist()) == set(selection.chosen.tolist())


def test_the_choice_goes_on_from_what_protected_tokens_hold():
    tokens = visual_tokens()
    free = choose(tokens, Settings(keep=10), nothing()).chosen
    # Had the greedy choice begun with these, it would have gone on as it did.
    again = choose(tokens, Settings(keep=10), free[:4])
    assert torch.equal(again.chosen, free)
    # A protected token's duplicate has nothing to add.
    doubled = VisualTokens(torch.cat([tokens.features, tokens.features[free[:1]]]), visual_tokens(41).coords)
    assert 40 not in choose(doubled, Settings(keep=30), free[:1]).chosen
    assert int(free[0]) in choose(doubled, Settings(keep=30), nothing()).chosen


@pytest.mark.parametrize(("keep", "kept"), [(1, 3), (3, 3), (0.01, 3), (40, 40)])
def test_more_protected_tokens_than_the_budget_are_what_stays(keep, kept):
    selection = choose(visual_tokens(), Settings(keep=keep), torch.tensor([5, 6, 7]))
    assert len(selection.indices) == kept and selection.chosen[:3].tolist() == [5, 6, 7]


def test_all_tokens_protected():
    assert choose(visual_tokens(3), Settings(keep=1), torch.arange(3)).chosen.tolist() == [0, 1, 2]


def test_tokens_chosen_by_hand():
    selection = choose(visual_tokens(), Settings(method=Manual([7, 2, 7])), nothing())
    assert selection.indices.tolist() == [2, 7] and len(selection.order) == 40


@pytest.mark.parametrize("options", [{"method": Manual([40])}, {"protect": [40]}])
def test_a_token_that_the_image_does_not_have_is_refused(options):
    settings = Settings(**options)
    with pytest.raises(InputError, match=r"names the visual token 40, but the image has 40; give 0 to 39"):
        choose(visual_tokens(), settings, torch.tensor(settings.protect, dtype=torch.int64))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": "auto", "method": "random"}, "choose one of resprune, cdpruner, paper"),
        ({"keep": "some"}, "or auto"),
        ({"method": "manual"}, "'manual' needs indices"),
        ({"method": "manual:indices=-1"}, "whole numbers|as in"),
        ({"protect": [(0, 0, 5, 5)]}, "image_size"),
        ({"protect": [(0, 0, 5)], "image_size": (9, 9)}, "x0, y0, x1, y1"),
        ({"protect": [(5, 0, 0, 5)], "image_size": (9, 9)}, "x0 < x1"),
        ({"protect": [-3]}, "whole numbers"),
        ({"energy": 0.0}, "between 0 and 1"),
        ({"energy": float("nan")}, "between 0 and 1"),
        ({"positions": "gone"}, "'original' or 'sequential'"),
        ({"mass": 1}, "True, False or Mass"),
    ],
)
def test_settings_that_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Settings(**options)


class TestAttached:
    def test_boxes_protect_each_patch_that_they_touch(self, tiny):
        model, processor = tiny
        inputs = resprune.build_inputs(processor, picture(0, 84, 84), "What is it?")
        box = (20, 30, 40, 32)
        with resprune.pruned(model, processor, keep=9, protect=[box], image_size=(84, 84)):
            generate(model, inputs)
            result = model.resprune.last[0]
        x0, y0, x1, y1 = boxes(processor, (84, 84), result.coords).T
        touched = (x0 < box[2]) & (x1 > box[0]) & (y0 < box[3]) & (y1 > box[1])
        expected = [tuple(place) for place in result.coords[touched].tolist()]
        assert 0 < len(expected) < 9
        assert result.kept[: len(expected)] == expected
        assert result.tokens_kept == 9

    @pytest.mark.parametrize("form", [np.array, torch.tensor, list], ids=["array", "tensor", "list"])
    def test_what_is_protected_comes_in_any_form(self, tiny, form):
        model, processor = tiny
        inputs = resprune.build_inputs(processor, picture(0, 84, 84), "What is it?")
        kept = []
        for options in (
            {"protect": [3, 30], "keep": 9},
            {"protect": form([3, 30]), "keep": np.int64(9)},
            {"protect": form([3, 30]), "keep": "25%"},
            {"protect": [(20, 30, 40, 32)], "image_size": (84, 84), "keep": 9},
            {"protect": form([[20, 30, 40, 32]]), "image_size": form([84, 84]), "keep": "9"},
        ):
            with resprune.pruned(model, processor, **options):
                generate(model, inputs)
                kept.append(model.resprune.last[0].kept)
        assert kept[0] == kept[1] == kept[2] and kept[3] == kept[4] and kept[0] != kept[3]

    def test_a_box_that_the_model_does_not_see_is_told(self, tiny):
        """The processor cuts the middle out of a wide picture."""
        model, processor = tiny
        inputs = resprune.build_inputs(processor, picture(0, 400, 84), "What is it?")
        for box, unseen in (((0, 0, 20, 84), True), ((200, 0, 220, 84), False)):
            with resprune.pruned(model, processor, keep=9, protect=[box], image_size=(400, 84)):
                generate(model, inputs)
                notes = model.resprune.last[0].notes
            assert any(f"The box {box} protects nothing" in note for note in notes) == unseen

    def test_what_is_kept_is_what_was_named(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["one image"])
        with resprune.pruned(model, processor, method=Manual([0, 35, 8])):
            generate(model, inputs)
            assert set(model.resprune.last[0].kept) == {(0, 0, 0), (0, 5, 5), (0, 1, 2)}
            assert model.resprune.last[0].notes == []

    def test_more_protected_than_the_budget_is_told(self, tiny):
        model, processor = tiny
        with resprune.pruned(model, processor, keep=2, protect=[1, 2, 3]):
            generate(model, prompt_inputs(processor, PROMPTS["one image"]))
            assert model.resprune.last[0].tokens_kept == 3
            assert any("3 tokens are protected" in note for note in model.resprune.last[0].notes)

    def test_sequential_positions_close_the_gaps(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
        with resprune.pruned(model, processor, keep=9, positions="sequential"):
            ours = generate(model, inputs)
            hidden = hidden_mask(inputs, model.resprune.last)
        masked = generate(model, inputs | {"attention_mask": hidden, "position_ids": positions_of(hidden)})
        assert difference(ours, masked) < 1e-4
        original = inputs | {"attention_mask": hidden, "position_ids": positions_of(inputs["attention_mask"])}
        assert difference(ours, generate(model, original)) > 1e-2

    def test_with_all_tokens_no_setting_changes_a_bit(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
        plain = generate(model, inputs)
        for options in ({"mass": True}, {"positions": "sequential"}, {"protect": [3]}, {"mass": True, "protect": [0]}):
            with resprune.pruned(model, processor, keep=1.0, **options):
                assert difference(generate(model, inputs), plain) == 0
        with resprune.pruned(model, processor, keep=1.0, mass=True):
            generate(model, inputs)
            assert [result.mass.tolist() for result in model.resprune.last] == [[1.0] * TOKENS] * 2

    @pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
    def test_mass_equals_the_masked_full_prompt_with_its_bias(self, tiny, rows):
        """One pass over everything, dropped tokens masked out and kept ones favoured in an explicit 4-D mask."""
        model, processor = tiny
        inputs = prompt_inputs(processor, rows)
        with resprune.pruned(model, processor, keep=9, mass=Mass(alike=-1)):
            ours = generate(model, inputs)
            results = model.resprune.last
            hidden = hidden_mask(inputs, results)
        assert all(result.mass.sum() == TOKENS and len(result.mass) == 9 for result in results)
        grid = torch.zeros(len(results), TOKENS)
        for image, result in enumerate(results):
            for (_, row, col), mass in zip(result.kept, result.mass.log(), strict=True):
                grid[image, row * 6 + col] = mass
        bias = torch.zeros(hidden.shape)
        bias[inputs["input_ids"] == IMAGE] = grid.flatten()
        steps, length = len(ours.logits), hidden.shape[1]
        extend = torch.nn.functional.pad
        seen = torch.ones(length + steps, length + steps, dtype=torch.bool).tril()
        seen = (seen & extend(hidden, (0, steps), value=1)[:, None].bool()) | torch.eye(
            length + steps, dtype=torch.bool
        )
        positions = positions_of(extend(inputs["attention_mask"], (0, steps), value=1))

        def logits(bias):
            with torch.no_grad():
                return model(
                    input_ids=ours.sequences,
                    pixel_values=inputs["pixel_values"],
                    attention_mask=torch.where(seen, extend(bias, (0, steps))[:, None], -3e38)[:, None],
                    position_ids=positions,
                    use_cache=False,
                ).logits[:, length - 1 : -1]

        stacked = torch.stack(ours.logits, dim=1)
        assert (logits(bias) - stacked).abs().max() < 1e-4
        assert (logits(bias * 0) - stacked).abs().max() > 1e-2

    def test_a_chat_goes_on_with_the_mass_of_its_cache(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
        more = processor.tokenizer("USER: And now? ASSISTANT:", add_special_tokens=False, return_tensors="pt").input_ids
        with resprune.pruned(
            model, processor, keep=9, mass=True, method=ResPrune(alpha=0)
        ):  # whatever the question, the same choice
            cache = generate(model, inputs).cache
            ids = torch.cat([generate(model, inputs).sequences, more.expand(2, -1)], dim=1)
            new = ids.shape[1] - inputs["input_ids"].shape[1]
            mask = torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1)
            longer = {"input_ids": ids, "attention_mask": mask}
            forgetful = copy.deepcopy(cache)
            forgetful._resprune_prompt = dataclasses.replace(cache._resprune_prompt, bias=None)
            again, forgot = (generate(model, longer | {"cache": past}) for past in (cache, forgetful))
            whole = generate(model, inputs | longer)
        assert difference(again, whole) < 1e-4
        assert difference(forgot, whole) > 1e-2

    def test_a_method_that_ignores_the_question_has_no_nouns(self, tiny):
        model, processor = tiny
        inputs = prompt_inputs(processor, PROMPTS["one image"])
        for method, nouns in (("divprune", []), ("resprune", ["animal", "picture"])):
            with resprune.pruned(model, processor, keep=9, method=method):
                generate(model, inputs)
                assert model.resprune.last[0].nouns == nouns


@dataclasses.dataclass(frozen=True)
class Largest(Subspace):
    """A method of others, which knows nothing of tokens that stay anyway."""

    name = "largest"
    first: dict = dataclasses.field(default_factory=dict)  # of options it has what it likes, hashable or not

    def select(self, tokens, k):
        return greedy_subspace(tokens.features, k)


class Block(Method):
    """A method of others that is no dataclass: all of its kind are equal."""

    name = "block"

    def __init__(self, start):
        object.__setattr__(self, "start", start)

    def select(self, tokens, k):
        return Selection.of(torch.arange(len(tokens)).roll(-self.start), k)


class Noted(Subspace):
    """One that has something to say."""

    def select(self, tokens, k):
        return dataclasses.replace(greedy_subspace_of(tokens, k), note="chosen elsewhere")


def greedy_subspace_of(tokens, k):
    chosen = greedy_subspace(tokens.features, k)
    return Selection(chosen.order, chosen.indices, chosen.energy, chosen.captured)


class TestMethodsOfOthers:
    @pytest.mark.parametrize("keep", [6, "auto"])
    def test_what_is_protected_stays(self, keep):
        selection = choose(visual_tokens(), Settings(keep, method=Largest(), energy=0.1, protect=[4, 10]), PROTECTED)
        assert {4, 10} <= set(selection.indices.tolist()) and selection.chosen[:2].tolist() == [4, 10]
        assert not Largest().on_device and Subspace().on_device

    def test_equal_ones_are_not_mixed_up(self):
        asked = [Asked(visual_tokens(), Settings(3, method=Block(start)), nothing()) for start in (0, 10)]
        assert [one.indices.tolist() for one in choice.choose(asked)] == [[0, 1, 2], [10, 11, 12]]

    @pytest.mark.parametrize("options", [{}, {"protect": [4, 10]}, {"keep": "auto"}], ids=str)
    def test_what_it_has_to_say_is_heard(self, options):
        settings = Settings(**{"keep": 6, "method": Noted()} | options)
        protected = torch.tensor(settings.protect, dtype=torch.int64)
        assert choose(visual_tokens(), settings, protected).note == "chosen elsewhere"
