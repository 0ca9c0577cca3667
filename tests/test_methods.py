"""Every method against its definition, written out plainly."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from resprune.errors import InputError
from resprune.methods import METHODS
from resprune.selection import greedy_subspace
from resprune.settings import Settings
from resprune.tokens import VisualTokens

NESTED = [name for name, method in METHODS.items() if method.nested]
reproducible = examples(derandomize=True, deadline=None, max_examples=40)


def grid(rows: int, cols: int, tiles: int = 1) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(tiles), torch.arange(rows), torch.arange(cols))


def visual_tokens(coords: torch.Tensor, dims: int = 40, seed: int = 0, relevance: bool = True) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(coords), dims, generator=generator) + torch.randn(dims, generator=generator)
    weights = torch.rand(len(coords), generator=generator).clamp_min(1e-6) if relevance else None
    return VisualTokens(features, coords, weights)


def choose(name: str, tokens: VisualTokens, k: int, **options) -> list[int]:
    """The kept tokens in the order of selection."""
    return METHODS[name](tokens, k, Settings(method=name, **options)).chosen.tolist()


def test_the_methods_that_there_are():
    baselines = ["random", "uniform", "divprune", "cdpruner"]
    assert list(METHODS) == ["resprune", *baselines, "subspace", "relevance", "spare", "norm", "lrcp"]
    assert [name for name in METHODS if name not in NESTED] == ["uniform"]
    assert all(method.summary for method in METHODS.values())


@pytest.mark.parametrize("name", METHODS)
@reproducible
@given(rows=st.integers(1, 7), cols=st.integers(1, 7), k=st.integers(1, 60), relevance=st.booleans())
def test_every_method_orders_every_token_once(name, rows, cols, k, relevance):
    selection = METHODS[name](visual_tokens(grid(rows, cols), relevance=relevance), k, Settings(method=name))
    assert sorted(selection.order.tolist()) == list(range(rows * cols))
    assert selection.indices.tolist() == sorted(selection.order[:k].tolist())
    assert selection.order.dtype == selection.indices.dtype == torch.int64
    assert (selection.energy is None) == (selection.captured is None) == (not METHODS[name].energies)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_no_budget(name):
    with pytest.raises(InputError, match="at least 1 token"):
        METHODS[name](visual_tokens(grid(3, 3)), 0, Settings(method=name))


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("k", [1, 5, 16, 40, 64, 100])
def test_a_smaller_budget_is_a_prefix(name, k):
    tokens = visual_tokens(grid(8, 8), dims=80)
    assert choose(name, tokens, k) == choose(name, tokens, 64)[:k]


def test_a_smaller_uniform_grid_is_no_prefix():
    tokens = visual_tokens(grid(8, 8))
    assert choose("uniform", tokens, 4) != choose("uniform", tokens, 64)[:4]


@pytest.mark.parametrize("name", ["resprune", "divprune", "cdpruner", "subspace", "spare", "norm", "lrcp"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(name, value):
    tokens = visual_tokens(grid(3, 3))
    tokens.features[4, 2] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        choose(name, tokens, 2)


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_features_give_the_choice_of_the_same_values_in_float32(name):
    tokens = visual_tokens(grid(6, 6), dims=64)
    half = VisualTokens(tokens.features.bfloat16(), tokens.coords, tokens.relevance)
    full = VisualTokens(half.features.float(), tokens.coords, tokens.relevance)
    assert choose(name, half, 12) == choose(name, full, 12)


@pytest.mark.parametrize(("alpha", "sign"), [(1.0, 1), (0.5, 1), (3.0, 1), (1.0, -1), (2.0, -1)])
def test_resprune_weighs_by_relevance(alpha, sign):
    tokens = visual_tokens(grid(6, 6), dims=64)
    weights = (tokens.relevance if sign > 0 else 1 - tokens.relevance) ** alpha
    wanted = greedy_subspace(tokens.features, 12, weights).chosen.tolist()
    assert choose("resprune", tokens, 12, alpha=alpha, sign=sign) == wanted
    assert wanted != greedy_subspace(tokens.features, 12).chosen.tolist()


def test_resprune_without_a_question_is_subspace_alone():
    tokens = visual_tokens(grid(6, 6), dims=64)
    unasked = VisualTokens(tokens.features, tokens.coords)
    wanted = greedy_subspace(tokens.features, 12).chosen.tolist()
    assert choose("resprune", unasked, 12) == choose("resprune", tokens, 12, alpha=0) == wanted
    assert choose("resprune", unasked, 12, sign=-1) == wanted


def test_resprune_takes_what_the_question_names_first():
    coords = grid(4, 4)
    relevance = torch.full((16,), 1e-6)
    relevance[[5, 6, 9]] = 1
    noise = 0.01 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    tokens = VisualTokens(torch.eye(16) + noise, coords, relevance)
    assert sorted(choose("resprune", tokens, 3)) == [5, 6, 9]
    assert not {5, 6, 9} & set(choose("resprune", tokens, 13, sign=-1))


def test_ablations_are_settings_of_resprune():
    tokens = visual_tokens(grid(6, 6), dims=64)
    assert choose("subspace", tokens, 12) == choose("resprune", tokens, 12, alpha=0)
    assert choose("spare", tokens, 12) == choose("resprune", tokens, 12, sign=-1)
    assert len({tuple(choose(name, tokens, 12)) for name in ("resprune", "subspace", "spare", "relevance")}) == 4


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
    assert choose("resprune", tokens, 8) != wanted
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
