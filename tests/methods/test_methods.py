"""Every method against its definition, written out plainly."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from resprune.errors import InputError
from resprune.methods import ResPrune, Spare, built_in
from resprune.methods.saliency import Saliency
from resprune.methods.tokens import VisualTokens
from resprune.selection.greedy import greedy_subspace

METHODS = built_in()
NAMES = [name for name, method in METHODS.items() if not (method.inside or method.by_hand)]  # see test_fastv.py
NESTED = [name for name in NAMES if METHODS[name].nested]
reproducible = examples(derandomize=True, deadline=None, max_examples=40)


def grid(rows: int, cols: int, tiles: int = 1) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(tiles), torch.arange(rows), torch.arange(cols))


def visual_tokens(coords: torch.Tensor, dims: int = 40, seed: int = 0, relevance: bool = True) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(coords), dims, generator=generator) + torch.randn(dims, generator=generator)
    weights = torch.rand(len(coords), generator=generator).clamp_min(1e-6) if relevance else None
    attention = torch.rand(2, len(coords) + 1, generator=generator).softmax(1)[:, 1:]
    saliency = Saliency(attention, torch.randn(len(coords), 8, generator=generator))
    text = torch.randn(9, dims, generator=generator)
    cosine = None if weights is None else 0.5 * weights
    return VisualTokens(features, coords, weights, cosine=cosine, saliency=saliency, text=text)


def attended(features: torch.Tensor, *heads: list[float], keys: torch.Tensor | None = None) -> VisualTokens:
    """Tokens in a row, with the CLS token's attention to each by head."""
    keys = torch.eye(len(features)) if keys is None else keys
    return VisualTokens(features, grid(1, len(features)), saliency=Saliency(torch.tensor(heads), keys))


def choose(name: str, tokens: VisualTokens, k: int, **options) -> list[int]:
    """The kept tokens in the order of selection."""
    return METHODS[name](**options).select(tokens, k).chosen.tolist()


def test_the_methods_that_there_are():
    baselines = ["random", "uniform", "divprune", "cdpruner"]
    ablations = ["subspace", "relevance", "spare", "norm", "lrcp"]
    others = ["fastervlm", "vispruner", "visionzip", "tome", "dart", "era", "fastv", "manual"]
    assert list(METHODS) == ["resprune", *sorted(["paper", *baselines, *ablations, *others])]
    assert [name for name in NAMES if name not in NESTED] == ["dart", "tome", "uniform", "visionzip", "vispruner"]
    assert all(method.summary() and method.fact("Paper") for method in METHODS.values())


@pytest.mark.parametrize("name", NAMES)
@reproducible
@given(rows=st.integers(1, 7), cols=st.integers(1, 7), k=st.integers(1, 60), relevance=st.booleans())
def test_every_method_orders_every_token_once(name, rows, cols, k, relevance):
    selection = METHODS[name]().select(visual_tokens(grid(rows, cols), relevance=relevance), k)
    assert sorted(selection.order.tolist()) == list(range(rows * cols))
    assert selection.indices.tolist() == sorted(selection.order[:k].tolist())
    assert selection.order.dtype == selection.indices.dtype == torch.int64
    assert (selection.energy is None) == (selection.captured is None) == (not METHODS[name].energies)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_refuses_no_budget(name):
    with pytest.raises(InputError, match="at least 1 token"):
        METHODS[name]().select(visual_tokens(grid(3, 3)), 0)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("k", [1, 5, 16, 40, 64, 100])
def test_a_smaller_budget_is_a_prefix(name, k):
    tokens = visual_tokens(grid(8, 8), dims=80)
    assert choose(name, tokens, k) == choose(name, tokens, 64)[:k]


def test_a_smaller_uniform_grid_is_no_prefix():
    tokens = visual_tokens(grid(8, 8))
    assert choose("uniform", tokens, 4) != choose("uniform", tokens, 64)[:4]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("random", "uniform", "relevance")])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(name, value):
    tokens = visual_tokens(grid(3, 3))
    tokens.features[4, 2] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        choose(name, tokens, 2)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_features_give_the_choice_of_the_same_values_in_float32(name):
    tokens = visual_tokens(grid(6, 6), dims=64)
    half = replace(tokens, features=tokens.features.bfloat16())
    full = replace(tokens, features=half.features.float())
    assert choose(name, half, 12) == choose(name, full, 12)


PAPER = {"weighting": "power", "alpha": 1.0, "kernel": "raw"}


@pytest.mark.parametrize(("alpha", "sign"), [(1.0, 1), (0.5, 1), (3.0, 1), (1.0, -1), (2.0, -1)])
def test_the_papers_weights(alpha, sign):
    tokens = visual_tokens(grid(6, 6), dims=64)
    weights = (tokens.relevance if sign > 0 else 1 - tokens.relevance) ** alpha
    wanted = greedy_subspace(tokens.features, 12, weights).chosen.tolist()
    assert choose("resprune", tokens, 12, **PAPER | {"alpha": alpha}, sign=sign) == wanted
    assert wanted != greedy_subspace(tokens.features, 12).chosen.tolist()
    if (alpha, sign) in ((1.0, 1), (1.0, -1)):
        assert choose("paper" if sign > 0 else "spare", tokens, 12) == wanted


@pytest.mark.parametrize(("alpha", "sign"), [(1.0, 1), (16.0, 1), (16.0, -1)])
def test_bounded_weights(alpha, sign):
    tokens = visual_tokens(grid(6, 6), dims=64)
    weights = (1 + alpha * tokens.cosine) ** sign
    wanted = greedy_subspace(tokens.features, 12, weights).chosen.tolist()
    assert choose("resprune", tokens, 12, alpha=alpha, sign=sign, kernel="raw") == wanted
    assert wanted != greedy_subspace(tokens.features, 12).chosen.tolist()


def test_resprune_without_a_question_is_subspace_alone():
    tokens = visual_tokens(grid(6, 6), dims=64)
    unasked = VisualTokens(tokens.features, tokens.coords)
    wanted = greedy_subspace(tokens.features, 12).chosen.tolist()
    assert choose("paper", unasked, 12) == choose("spare", unasked, 12) == choose("subspace", tokens, 12) == wanted
    plain = choose("resprune", unasked, 12)
    assert plain == choose("resprune", tokens, 12, alpha=0) == choose("resprune", unasked, 12, sign=-1)


@pytest.mark.parametrize("name", ["resprune", "paper"])
def test_resprune_takes_what_the_question_names_first(name):
    coords = grid(4, 4)
    relevance = torch.full((16,), 1e-6)
    relevance[[5, 6, 9]] = 1
    noise = 0.01 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    tokens = VisualTokens(torch.eye(16) + noise, coords, relevance, cosine=relevance)
    assert sorted(choose(name, tokens, 3)) == [5, 6, 9]
    turned = {"resprune": ResPrune(sign=-1), "paper": Spare()}[name]
    assert not {5, 6, 9} & set(turned.select(tokens, 13).chosen.tolist())


def test_ablations_are_other_choices():
    tokens = visual_tokens(grid(6, 6), dims=64)
    assert len({tuple(choose(n, tokens, 12)) for n in ("resprune", "paper", "subspace", "spare", "relevance")}) == 5


def test_relevance_alone_keeps_duplicates_of_what_is_named():
    relevance = torch.tensor([0.2, 1.0, 1.0, 1e-6, 0.9])
    tokens = VisualTokens(torch.ones(5, 3), grid(1, 5), relevance)
    assert choose("relevance", tokens, 5) == [1, 2, 4, 0, 3]
    assert choose("relevance", VisualTokens(tokens.features, tokens.coords), 3) == [0, 1, 2]


def test_norm_keeps_the_longest():
    features = torch.tensor([[3.0, 4], [0, 6], [1, 1], [0, -6]])
    assert choose("norm", VisualTokens(features, grid(1, 4)), 4) == [1, 3, 0, 2]


def test_lrcp_keeps_what_the_dominant_directions_do_not_explain():
    """Ten pairs along each of four axes, far out, and three tokens near the middle along axes of their own."""
    far = torch.cat([torch.eye(8)[:4] * s for s in (100.0, -100.0)] * 10)
    odd = torch.eye(8)[4:7] * torch.tensor([[1.0], [3.0], [2.0]])
    tokens = VisualTokens(torch.cat([far[:40], odd, far[40:]]), grid(1, 83))
    assert choose("lrcp", tokens, 3) == [41, 42, 40]
    assert not {40, 41, 42} & set(choose("norm", tokens, 80))


def test_cdpruner_is_greedy_on_the_determinant():
    tokens = visual_tokens(grid(3, 4), dims=20, seed=4)
    unit = torch.nn.functional.normalize(tokens.features, dim=1).double().numpy()
    relevance = tokens.relevance.double().numpy()
    kernel = relevance[:, None] * (unit @ unit.T) * relevance
    wanted: list[int] = []
    for _ in range(8):
        gains = {i: np.linalg.slogdet(kernel[np.ix_([*wanted, i], [*wanted, i])])[1] for i in range(12)}
        wanted.append(max((i for i in gains if i not in wanted), key=gains.get))
    assert choose("cdpruner", tokens, 8) == wanted
    assert choose("paper", tokens, 8) != wanted
    longer = VisualTokens(tokens.features * torch.arange(1, 13)[:, None], tokens.coords, tokens.relevance)
    assert choose("cdpruner", longer, 8) == wanted  # lengths play no part


def test_divprune_is_greedy_on_the_smallest_distance():
    tokens = visual_tokens(grid(4, 5), dims=6, seed=2)
    unit = torch.nn.functional.normalize(tokens.features.double(), dim=1)
    distance = 1 - unit @ unit.T
    wanted = [max(range(20), key=lambda i: min(distance[i, j] for j in range(20) if j != i))]
    while len(wanted) < 20:
        rest = [i for i in range(20) if i not in wanted]
        wanted.append(max(rest, key=lambda i: min(distance[i, j] for j in wanted)))
    assert choose("divprune", tokens, 20) == wanted


def test_divprune_with_duplicates_and_empty_tokens():
    features = torch.tensor([[1.0, 0], [1, 0], [0, 0], [-1, 0], [2, 0]])
    tokens = VisualTokens(features, grid(1, 5))
    assert choose("divprune", tokens, 5) == [2, 0, 3, 1, 4]  # ties by index, duplicates last


def test_random_follows_its_seed():
    tokens = visual_tokens(grid(24, 24))
    assert choose("random", tokens, 64, seed=1) == choose("random", tokens, 64, seed=1)
    picks = [choose("random", tokens, 64, seed=seed) for seed in range(50)]
    assert len({tuple(pick) for pick in picks}) == 50
    assert np.mean(list(itertools.chain(*picks))) == pytest.approx(287.5, abs=15)


@pytest.mark.parametrize(("rows", "cols"), [(24, 24), (1, 40), (40, 1), (3, 30), (17, 5)])
@pytest.mark.parametrize("share", [0.03, 0.1, 0.22, 0.5, 0.9, 1.0])
def test_uniform_covers_the_picture_evenly(rows, cols, share):
    k = max(1, round(share * rows * cols))
    tokens = visual_tokens(grid(rows, cols))
    kept = tokens.coords[choose("uniform", tokens, k), 1:].tolist()
    assert len({tuple(place) for place in kept}) == k
    assert kept == sorted(kept)
    # Any half of the picture holds about half of the tokens.
    for axis, size in ((0, rows), (1, cols)):
        low = sum(place[axis] < size / 2 for place in kept)
        high = sum(size - 1 - place[axis] < size / 2 for place in kept)
        assert abs(low - high) <= max(2, 1.5 * k**0.5)


def test_uniform_takes_the_centres_of_square_cells():
    tokens = visual_tokens(grid(24, 24))
    places = tokens.coords[choose("uniform", tokens, 16), 1:].tolist()
    assert places == [[row, col] for row in (3, 9, 15, 21) for col in (3, 9, 15, 21)]
    assert tokens.coords[choose("uniform", tokens, 1), 1:].tolist() == [[12, 12]]
    wide = visual_tokens(grid(4, 16))
    assert wide.coords[choose("uniform", wide, 4), 1:].tolist() == [[2, 2], [2, 6], [2, 10], [2, 14]]


def test_uniform_gives_each_tile_its_share():
    tokens = visual_tokens(torch.cat([grid(24, 24), grid(12, 12, tiles=2) + torch.tensor([1, 0, 0])]))
    for k in (1, 2, 7, 96, 640):
        tiles = tokens.coords[choose("uniform", tokens, k), 0]
        for tile, size in enumerate([576, 144, 144]):
            assert abs((tiles == tile).sum().item() - k * size / 864) <= 1


def test_uniform_fills_gaps():
    holes = torch.tensor([(row + col) % 3 > 0 for row in range(12) for col in range(12)])
    tokens = visual_tokens(grid(12, 12)[holes])
    for k in (1, 9, 30, len(tokens)):
        assert len(set(choose("uniform", tokens, k))) == k


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].attends])
def test_what_needs_a_cls_token_is_refused_without_one(name):
    with pytest.raises(InputError, match=rf"{name}.*CLS token.*LLaVA-1.5"):
        choose(name, replace(visual_tokens(grid(3, 3)), saliency=None), 2)


def test_fastervlm_keeps_what_is_attended_to():
    tokens = attended(torch.ones(4, 2), [0.1, 0.4, 0.2, 0.1], [0.1, 0.0, 0.3, 0.1])
    assert choose("fastervlm", tokens, 4) == [2, 1, 0, 3]  # means 0.25, 0.2, 0.1, 0.1


def test_vispruner_drops_duplicates_of_what_is_not_attended_to():
    """6 and 2 are attended to, then all are equal. Of 3, 4, 5, 7 left, 3 is the very same as 4, and 5 only like 7.

    With a budget of three, 0, 3 and 5 leave at once, for they are as many as may; then 1 and 7 before 4, their partner.
    """
    a = torch.eye(5)
    features = torch.stack([a[0], a[1] + a[2], a[3], a[4], a[4], a[2] + a[3], a[0], a[3]])
    tokens = attended(features, [0, 0, 0.4, 0, 0, 0, 0.5, 0])
    assert choose("vispruner", tokens, 7) == [6, 2, 0, 1, 4, 5, 7]
    assert choose("vispruner", tokens, 3) == [6, 2, 4]
    assert choose("vispruner", tokens, 1) == [6]


def test_visionzip_merges_the_rest_by_its_keys():
    """Of a budget of six a sixth is contextual: five dominant tokens, and one target, to which all others come."""
    keys = torch.eye(8)
    features = torch.arange(16.0).view(8, 2)
    tokens = attended(features, [0.3, 0.2, 0.15, 0.1, 0.05, 0.0, 0.0, 0.0], keys=keys)
    selection = METHODS["visionzip"]().select(tokens, 6)
    assert selection.chosen.tolist() == [0, 1, 2, 3, 4, 5]
    assert selection.merge[:5].tolist() == torch.eye(8)[:5].tolist()
    assert selection.merge[5].tolist() == pytest.approx([0, 0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3])


def test_visionzip_has_its_papers_shares():
    tokens = visual_tokens(grid(24, 24))
    for k, contextual in ((192, 30), (128, 20), (64, 10)):
        merge = METHODS["visionzip"]().select(tokens, k).merge
        assert ((merge > 0).sum(1) > 1).sum() == contextual


def test_tome_merges_the_most_similar_in_rounds():
    """0, 2, 4 look among 1, 3: 4 is like 3, 0 like 1; then, of 1, 2, 3, the pair 1 and 2 is likest."""
    features = torch.tensor([[1.0, 0, 0], [2, 0.2, 0], [1, 0.9, 0], [0, 0, 1], [0, 0.01, 2]])
    tokens = VisualTokens(features, grid(1, 5))
    four = METHODS["tome"]().select(tokens, 4)
    assert four.chosen.tolist() == [0, 1, 2, 3]
    assert four.merge[3].tolist() == [0, 0, 0, 0.5, 0.5]
    two = METHODS["tome"]().select(tokens, 2)
    assert two.merge.tolist() == [pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0]), pytest.approx([0, 0, 0, 0.5, 0.5])]


def test_dart_takes_what_is_least_like_its_pivots():
    """Four pivots by L1 norm, 0 to 3; with one text pivot five shares of one token each."""
    axes = torch.eye(6)
    far = axes[:4] * torch.tensor([[9.0], [8], [7], [6]])
    near = torch.stack(
        [axes[4] - axes[0], axes[4] - axes[1], axes[4] - axes[2], axes[4] - axes[3], axes[5] - axes[4], axes[5]]
    )
    tokens = VisualTokens(torch.cat([near[3:], far, near[:3]]), grid(1, 10), text=axes[4:5])
    assert choose("dart", tokens, 9) == [3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert choose("dart", tokens, 2) == [3, 4]


def test_era_weighs_by_the_entropy_of_heads_and_recycles_the_rest():
    """0 and 1 are the same; heads share their attention between 1, 2 and 3, of which 3 gets little."""
    features = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.1, 1]])
    tokens = attended(features, [0.0, 0.45, 0.45, 0.05], [0.0, 0.45, 0.45, 0.05])
    selection = METHODS["era"]().select(tokens, 3)
    assert selection.chosen.tolist() == [1, 2, 3]
    assert selection.merge.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].merges])
@reproducible
@given(rows=st.integers(1, 7), cols=st.integers(1, 7), k=st.integers(1, 60))
def test_merging_loses_no_token(name, rows, cols, k):
    selection = METHODS[name]().select(visual_tokens(grid(rows, cols)), k)
    merge = selection.merge
    if merge is None:
        assert k >= rows * cols or (name == "visionzip" and k <= 3)
        return
    assert merge.shape == (len(selection.chosen), rows * cols)
    assert torch.allclose(merge.sum(1), torch.ones(len(merge)))
    assert ((merge > 0).sum(0) == 1).all()  # each token is part of one
    assert (merge[torch.arange(len(merge)), selection.chosen] > 0).all()  # and a kept one of itself


@pytest.mark.parametrize("kernel", ["raw", "centred", "normalised", "both"])
def test_the_kernel_is_that_of_prepared_features(kernel):
    tokens = visual_tokens(grid(6, 6), dims=64)
    features = tokens.features * (1 + torch.arange(36) % 5)[:, None]
    tokens = replace(tokens, features=features)
    if kernel in ("centred", "both"):
        features = features - features.mean(0)
    if kernel in ("normalised", "both"):
        features = torch.nn.functional.normalize(features, dim=1)
    wanted = greedy_subspace(features, 12, tokens.relevance).chosen.tolist()
    assert choose("resprune", tokens, 12, **PAPER | {"kernel": kernel}) == wanted
    others = {"raw", "centred", "normalised", "both"} - {kernel}
    assert all(choose("resprune", tokens, 12, **PAPER | {"kernel": other}) != wanted for other in others)
