"""Greedy subspace expansion against LAPACK, against its definition, and by its properties."""

import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from resprune.errors import InputError
from resprune.selection.cholesky import PivotedCholesky
from resprune.selection.gram import gram_matrix
from resprune.selection.greedy import greedy_from_gram, greedy_subspace, select
from resprune.selection.selection import Selection

seeds = st.integers(0, 2**32 - 1)
NO_WEIGHTS = r"^The weights must be finite and not negative, and so must their products with the energies\.$"
reproducible = examples(derandomize=True, deadline=None, max_examples=60)


def matrix(tokens: int, dims: int, seed: int = 0, mean: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, dims, generator=generator) + mean * torch.randn(dims, generator=generator)


def weights_of(tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(tokens, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-6)


def lapack_order(features: torch.Tensor, weights: torch.Tensor | None = None) -> list[int]:
    """The pivots of column-pivoted QR in float64."""
    rows = features.double().numpy()
    if weights is not None:
        rows = rows * weights.double().sqrt().numpy()[:, None]
    return scipy.linalg.qr(rows.T, mode="r", pivoting=True)[1].tolist()


def residual_energies(features: torch.Tensor, chosen: list[int]) -> np.ndarray:
    """``||v - P_S v||^2`` of every token in float64, by least squares."""
    rows = features.double().numpy()
    if not chosen:
        return np.square(rows).sum(1)
    basis = rows[chosen].T
    return np.square(rows.T - basis @ np.linalg.lstsq(basis, rows.T, rcond=None)[0]).sum(0)


def is_greedy(selection: Selection, features: torch.Tensor, weights: torch.Tensor | None, every: int = 1) -> bool:
    """Each token up to the rank, or one in ``every``, has the largest weighted residual energy of its moment."""
    order = selection.order.tolist()
    scale = np.ones(len(order)) if weights is None else weights.double().numpy()
    for step in range(0, min(features.shape), every):
        scores = scale * residual_energies(features, order[:step])
        if scores[order[step]] < scores.max() * (1 - 1e-4):
            return False
    return True


# The seeds are such that no two tokens are within 2e-5 of a tie, far above float32 rounding.
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("tokens", "dims"), [(40, 64), (90, 90), (1, 5)])
def test_whole_order_is_that_of_pivoted_qr(tokens, dims, weighted):
    features = matrix(tokens, dims, seed=3)
    weights = weights_of(tokens) if weighted else None
    assert greedy_subspace(features, 7, weights).order.tolist() == lapack_order(features, weights)


def test_order_up_to_the_rank_is_that_of_pivoted_qr():
    features, weights = matrix(200, 48, seed=1), weights_of(200)
    assert greedy_subspace(features, 48, weights).chosen.tolist() == lapack_order(features, weights)[:48]


def test_weights_matter_to_the_oracle():
    features = matrix(40, 64, seed=3)
    assert greedy_subspace(features, 7).order.tolist() != lapack_order(features, weights_of(40))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("tokens", "dims", "mean", "every"), [(9, 4, 0, 1), (12, 30, 0, 1), (60, 20, 2, 1), (400, 300, 3, 17)]
)
def test_each_step_is_the_greedy_one(tokens, dims, mean, every, weighted):
    features = matrix(tokens, dims, seed=3, mean=mean)
    weights = weights_of(tokens) if weighted else None
    assert is_greedy(greedy_subspace(features, 2, weights), features, weights, every)


def test_the_greedy_check_notices_a_wrong_order():
    features, weights = matrix(12, 30), weights_of(12)
    right = greedy_subspace(features, 2, weights).order
    swapped = right.clone()
    swapped[[4, 5]] = right[[5, 4]]
    assert not is_greedy(Selection.of(swapped, 2), features, weights)
    assert not is_greedy(greedy_subspace(features, 2), features, weights)


def test_energy_and_captured_are_what_they_say():
    features, weights = matrix(30, 12, mean=1), weights_of(30)
    selection = greedy_subspace(features, 5, weights)
    order, scale = selection.order.tolist(), weights.double().numpy()
    total = scale @ residual_energies(features, [])
    for step in range(12):
        left = scale * residual_energies(features, order[:step])
        assert selection.energy[step] == pytest.approx(left[order[step]], rel=1e-4)
        spanned = 1 - scale @ residual_energies(features, order[: step + 1]) / total
        assert selection.captured[step] == pytest.approx(spanned, abs=1e-5)
    assert (selection.energy[12:] == 0).all()
    assert selection.captured[-1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("k", [1, 2, 63, 64, 65, 128, 299, 300, 1000])
def test_the_budget_changes_nothing_but_where_the_order_is_cut(k):
    features, weights = matrix(300, 200, seed=3, mean=1), weights_of(300)
    selection, whole = greedy_subspace(features, k, weights), greedy_subspace(features, 300, weights)
    assert selection.chosen.tolist() == whole.order[:k].tolist()
    assert selection.indices.tolist() == sorted(whole.order[:k].tolist())
    assert selection.order[:200].tolist() == whole.order[:200].tolist()
    torch.testing.assert_close(selection.energy[:200], whole.energy[:200], rtol=1e-2, atol=0)
    torch.testing.assert_close(selection.captured, whole.captured, rtol=0, atol=1e-5)


@reproducible
@given(seed=seeds, tokens=st.integers(1, 90), dims=st.integers(1, 40), k=st.integers(1, 100), weighted=st.booleans())
def test_what_always_holds(seed, tokens, dims, k, weighted):
    features = matrix(tokens, dims, seed, mean=seed % 3)
    selection = greedy_subspace(features, k, weights_of(tokens, seed) if weighted else None)
    assert sorted(selection.order.tolist()) == list(range(tokens))
    assert selection.indices.tolist() == sorted(selection.order[:k].tolist())
    assert (selection.energy.diff() <= 0).all()
    assert (selection.energy >= 0).all()
    assert (selection.captured.diff() >= 0).all()
    assert (selection.captured[:-1] >= 0).all()
    assert selection.captured[-1] == pytest.approx(1, abs=1e-4)
    assert selection.order.dtype == selection.indices.dtype == torch.int64
    assert selection.energy.dtype == selection.captured.dtype == torch.float32


@reproducible
@given(seed=seeds, tokens=st.integers(2, 16))
def test_the_order_of_the_rows_plays_no_part(seed, tokens):
    features, weights = matrix(tokens, tokens + 4, seed), weights_of(tokens, seed)
    shuffle = torch.randperm(tokens, generator=torch.Generator().manual_seed(seed))
    shuffled = greedy_subspace(features[shuffle], 3, weights[shuffle])
    assert shuffle[shuffled.order].tolist() == greedy_subspace(features, 3, weights).order.tolist()


@reproducible
@given(seed=seeds, size=st.integers(-12, 12), weight=st.integers(-12, 12))
def test_scale_plays_no_part(seed, size, weight):
    features, weights = matrix(20, 9, seed, mean=1), weights_of(20, seed)
    plain, scaled = greedy_subspace(features, 4, weights), greedy_subspace(features * 2**size, 4, weights * 2**weight)
    assert scaled.order.tolist() == plain.order.tolist()
    assert torch.equal(scaled.energy, plain.energy * 2.0 ** (2 * size + weight))
    assert torch.equal(scaled.captured, plain.captured)


@reproducible
@given(seed=seeds, different=st.integers(1, 30), copies=st.integers(2, 4), mean=st.sampled_from([0, 1, 10]))
def test_duplicates_come_after_all_that_differs(seed, different, copies, mean):
    shuffle = torch.randperm(different * copies, generator=torch.Generator().manual_seed(seed))
    features = matrix(different, different + 2, seed, mean).repeat(copies, 1)[shuffle]
    order = greedy_subspace(features, 1).order
    assert len({int(shuffle[i]) % different for i in order[:different]}) == different
    assert order[different:].tolist() == sorted(order[different:].tolist())


def test_one_colour_is_taken_in_order():
    # Whole numbers: their products are exact on every processor, so that no rounding breaks the tie.
    selection = greedy_subspace(matrix(1, 320).mul(8).round().expand(576, 320), 128)
    assert selection.order.tolist() == list(range(576))
    assert selection.energy[0] > 0
    assert not selection.energy[1:].any()
    assert torch.allclose(selection.captured, torch.ones(576))


def test_nothing_at_all_is_taken_by_weight():
    weights = torch.tensor([1.0, 3, 2, 3, 0])
    selection = greedy_subspace(torch.zeros(5, 4), 2, weights)
    assert selection.order.tolist() == [1, 3, 2, 0, 4]
    assert not selection.energy.any()
    assert (selection.captured == 1).all()
    assert greedy_subspace(torch.ones(3, 0), 2).order.tolist() == [0, 1, 2]


def test_once_the_energy_is_spent_weight_decides_then_index():
    features = torch.eye(3).repeat(3, 1)
    weights = torch.tensor([5.0, 9, 7, 1, 2, 2, 4, 1, 2])
    assert greedy_subspace(features, 9, weights).order.tolist() == [1, 2, 0, 6, 4, 5, 8, 3, 7]


def test_weight_zero_comes_last_whatever_its_energy():
    features = torch.diag(torch.tensor([1.0, 100, 2, 50]))
    selection = greedy_subspace(features, 4, torch.tensor([1.0, 0, 1, 0]))
    assert selection.order.tolist() == [2, 0, 1, 3]
    assert selection.energy.tolist() == [4, 1, 0, 0]
    assert selection.captured.tolist() == pytest.approx([0.8, 1, 1, 1])


def test_ties_go_to_the_lowest_index():
    assert greedy_subspace(torch.eye(6), 2).order.tolist() == list(range(6))


def test_small_tokens_beside_large_ones_are_still_ordered_by_energy():
    features = torch.diag(torch.tensor([1e4, 1.0, 3.0, 2.0]))
    assert greedy_subspace(features, 1).order.tolist() == [0, 2, 3, 1]


def test_bfloat16_features_are_computed_in_float32():
    features = matrix(96, 256, seed=2, mean=3).bfloat16()
    selection = greedy_subspace(features, 24)
    assert selection.chosen.tolist() == lapack_order(features)[:24]
    assert selection.energy.dtype == torch.float32
    rounded = greedy_from_gram((features.float() @ features.float().T).bfloat16(), 24)
    assert rounded.indices.tolist() != selection.indices.tolist()  # which is why the Gram matrix is never rounded


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_dtypes(dtype):
    features = matrix(30, 40).to(dtype)
    assert greedy_subspace(features, 5, weights_of(30).to(dtype)).order.dtype == torch.int64


def test_views_and_gradients():
    features = matrix(30, 40)
    wanted = greedy_subspace(features, 5).order.tolist()
    assert greedy_subspace(features.T.contiguous().T, 5).order.tolist() == wanted
    assert greedy_subspace(features.repeat_interleave(2, 1)[:, ::2], 5).order.tolist() == wanted
    assert greedy_subspace(features.requires_grad_(), 5).order.tolist() == wanted


def test_from_gram_is_the_same_choice_and_keeps_its_own_copy():
    features, weights = matrix(80, 30), weights_of(80)
    gram = features @ features.T
    selection = greedy_from_gram(gram, 9, weights)
    gram.zero_()
    assert selection.order[:30].tolist() == greedy_subspace(features, 9, weights).order[:30].tolist()


def test_features_are_not_changed():
    features, weights = matrix(30, 40), weights_of(30)
    before = features.clone(), weights.clone()
    assert greedy_subspace(features, 5, weights).captured[-1] > 0.99
    assert torch.equal(features, before[0])
    assert torch.equal(weights, before[1])


@pytest.mark.parametrize("k", [0, -3])
def test_no_budget_is_refused(k):
    with pytest.raises(InputError, match="at least 1 token"):
        greedy_subspace(matrix(4, 3), k)
    with pytest.raises(InputError, match="at least 1 token"):
        Selection.of(torch.arange(4), k)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_features_that_are_no_numbers_are_refused(value):
    features = matrix(6, 5)
    features[4, 2] = value
    said = r"^The features hold NaN or infinity, or are too large for float32; give finite values\.$"
    with np.errstate(all="raise"), pytest.raises(InputError, match=said):  # whatever the caller makes of overflow
        greedy_subspace(features, 2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(5), "6 tokens but weights"),
        (torch.ones(6, 1), "6 tokens but weights"),
        (torch.tensor([1, 1, -1, 1, 1, 1.0]), NO_WEIGHTS),
        (torch.tensor([1, 1, torch.nan, 1, 1, 1]), NO_WEIGHTS),
        (torch.tensor([1, 1, torch.inf, 1, 1, 1]), NO_WEIGHTS),
        (torch.tensor([1, 1, 3e38, 1, 1, 1]), NO_WEIGHTS),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with np.errstate(all="raise"), pytest.raises(InputError, match=message):
        greedy_subspace(matrix(6, 5) * 9, 2, weights)


def test_an_infinite_weight_of_nothing_is_refused_too():
    features = matrix(6, 5)
    features[2] = 0
    weights = torch.ones(6)
    weights[2] = torch.inf
    with np.errstate(all="raise"), pytest.raises(InputError, match=NO_WEIGHTS):
        greedy_subspace(features, 2, weights)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_features_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match=r"give \[N, D\]"):
        greedy_subspace(torch.ones(shape), 1)


def test_gram_matrices_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"give \[N, N\]"):
        greedy_from_gram(torch.ones(3, 4), 1)
    with pytest.raises(InputError, match=r"^The Gram matrix holds NaN or infinity; give finite values\.$"):
        greedy_from_gram(torch.tensor([[1, torch.nan], [torch.nan, 1]]), 1)


def test_without_weights_each_weighs_one_to_the_last_bit():
    features = matrix(300, 200, seed=3)
    plain, ones = greedy_subspace(features, 5), greedy_subspace(features, 5, torch.ones(300))
    for name in ("order", "energy", "captured"):
        assert torch.equal(getattr(plain, name), getattr(ones, name)), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_any_dtype_are_taken_in_float32(dtype):
    features, weights = matrix(300, 200, seed=3), weights_of(300).to(dtype)
    taken, known = greedy_subspace(features, 5, weights), greedy_subspace(features, 5, weights.float())
    assert torch.equal(taken.order, known.order) and torch.equal(taken.energy, known.energy)


def test_a_selection_is_where_its_features_are(monkeypatch):
    made = select(np.eye(3, dtype=np.float32), 2, None, "meta")
    assert made.indices.device.type == made.chosen.device.type == made.order.device.type == "meta"
    where = []
    monkeypatch.setattr("resprune.selection.greedy.select", lambda gram, k, weights, device: where.append(device))
    greedy_subspace(matrix(4, 3), 2)
    greedy_from_gram(torch.eye(3), 2)
    assert where == [torch.device("cpu")] * 2


def test_small_products_take_one_thread_and_large_ones_all(monkeypatch):
    taken = []

    def one_thread():
        taken.append(1)
        return nullcontext()

    monkeypatch.setattr("resprune.selection.gram.one_thread", one_thread)
    features = matrix(10, 5)
    for limit, threads in ((501, [1]), (500, []), (499, [])):  # of 10 x 10 x 5 products
        monkeypatch.setattr("resprune.selection.gram.MANY_PRODUCTS", limit)
        taken.clear()
        np.testing.assert_allclose(gram_matrix(features), features @ features.T, rtol=1e-6, atol=1e-6)
        assert taken == threads


def test_nothing_is_merged_where_everything_is_kept():
    assert Selection.merging(torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])).merge is None
    merge = Selection.merging(torch.tensor([2, 0]), torch.tensor([1, 0, 0])).merge
    assert merge.tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_threads_that_read_the_order_at_once_get_the_same(monkeypatch):
    finish = PivotedCholesky.finish
    monkeypatch.setattr(PivotedCholesky, "finish", lambda self, *given: time.sleep(0.05) or finish(self, *given))
    selection = greedy_subspace(torch.randn(50, 16), 8)
    with ThreadPoolExecutor(4) as pool:
        orders = list(pool.map(lambda _: selection.order, range(4)))
    assert all(order is orders[0] for order in orders)
    assert torch.equal(pickle.loads(pickle.dumps(selection)).order, orders[0])
