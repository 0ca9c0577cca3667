"""Run by test_kernel.py in a process of its own: the kernel in Triton's interpreter, where it needs no accelerator.

The interpreter is chosen when Triton is imported, for a whole process. It runs one program after the other, so that all
columns of an image lie in one.
"""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from choices import DISTINCT, by_host, holds_as_much, is_greedy, products, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from resprune.errors import InputError
from resprune.selection import DeviceSelection, Selection, kernel, launch
from resprune.selection.on_device import select_on_device

reproducible = settings(derandomize=True, deadline=None, max_examples=20)


def chosen(gram, k, weights=None, first=None) -> DeviceSelection:
    (selection,) = select_on_device([gram], [k], [weights], [first])
    assert isinstance(selection, DeviceSelection) and selection.note is None
    return selection


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("tokens", "dims"), [size for size in DISTINCT if size[0] <= 100])  # larger ones on a card
def test_the_order_is_the_hosts(tokens, dims, weighted):
    gram, weights = products(tokens, dims), weights_of(tokens) if weighted else None
    for k in ((tokens + 1) // 2, tokens + 5):
        selection, host = chosen(gram, k, weights), by_host(gram, k, weights)
        assert selection.chosen.tolist() == host.chosen.tolist()
        assert selection.indices.tolist() == host.indices.tolist()
        assert selection.order.tolist() == host.order.tolist()
        torch.testing.assert_close(selection.energy, host.energy, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(selection.captured, host.captured, rtol=0, atol=1e-5)


def test_beyond_the_rank_weight_decides_then_index():
    gram = torch.eye(3).repeat(3, 3)
    weights = torch.tensor([5.0, 9, 7, 1, 2, 2, 4, 1, 2])
    assert chosen(gram, 9, weights).chosen.tolist() == [1, 2, 0, 6, 4, 5, 8, 3, 7]
    wide, weights = products(64, 20), weights_of(64)
    assert chosen(wide, 50, weights).chosen.tolist() == by_host(wide, 50, weights).chosen.tolist()


def test_weight_zero_comes_last_whatever_its_energy():
    gram = torch.diag(torch.tensor([1.0, 100, 2, 50]))
    assert chosen(gram, 4, torch.tensor([1.0, 0, 1, 0])).chosen.tolist() == [2, 0, 1, 3]
    assert chosen(gram, 3, torch.zeros(4)).chosen.tolist() == [0, 1, 2]


def test_ties_and_one_colour_and_nothing_at_all_go_by_index():
    assert chosen(torch.eye(6), 4).chosen.tolist() == [0, 1, 2, 3]
    assert chosen(torch.full((40, 40), 7.0), 12).chosen.tolist() == list(range(12))
    nothing = chosen(torch.zeros(5, 5), 3, torch.tensor([1.0, 3, 2, 3, 0]))
    assert nothing.chosen.tolist() == [1, 3, 2]
    assert (nothing.captured == 1).all() and not nothing.energy.any()


def test_those_that_come_first_do_and_are_spanned():
    gram, weights = products(64, 20), weights_of(64)
    gram[9], gram[:, 9] = gram[7].clone(), gram[:, 7].clone()  # 9 is 7 again
    gram[9, 9] = gram[7, 7]
    first = torch.tensor([40, 7, 9, 0])
    for k in (1, 4, 5, 30, 64):
        selection, host = chosen(gram, k, weights, first), by_host(gram, k, weights, first)
        assert selection.chosen.tolist() == host.chosen.tolist()
        assert selection.order[:4].tolist() == [40, 7, 9, 0]
        assert selection.energy[:4].isinf().all() and not selection.captured[:4].any()
        torch.testing.assert_close(selection.captured, host.captured, rtol=0, atol=1e-5)
    free = chosen(gram, 10, weights).chosen
    assert chosen(gram, 10, weights, free[:4]).chosen.tolist() == free.tolist()


def test_images_of_a_batch_do_not_know_each_other():
    sizes, budgets = [(1, 3), (144, 160), (31, 8), (100, 90)], [1, 60, 25, 100]
    grams = [products(*size) for size in sizes]
    weights = [None, weights_of(144), None, weights_of(100)]
    first = [None, torch.tensor([3, 1]), torch.tensor([30]), None]
    selections = select_on_device(grams, budgets, weights, first)
    for selection, *image in zip(selections, grams, budgets, weights, first, strict=True):
        assert selection.chosen.tolist() == by_host(*image).chosen.tolist()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["diagonal", "beside", "weight"])
def test_what_is_no_number_ends_with_as_many_tokens_and_is_told(value, where):
    gram, weights = products(31, 40), weights_of(31)
    if where == "weight":
        weights[5] = value
    else:
        row = 5 if where == "diagonal" else int(gram.diagonal().argmax())
        gram[row, 5] = gram[5, row] = value
    selection = chosen(gram, 20, None if where == "beside" else weights)
    assert len(selection.indices.unique()) == 20
    said = "weights must be" if where == "weight" else "features hold NaN"
    with pytest.raises(InputError, match=said):
        selection.check()
    with pytest.raises(InputError, match=said):
        _ = selection.captured


@pytest.mark.parametrize("weight", [-1.0, 3e38])
def test_weights_below_zero_or_too_large_are_told(weight):
    weights = torch.ones(31)
    weights[3] = weight
    with pytest.raises(InputError, match="weights must be"):
        chosen(products(31, 40) * 9, 4, weights).check()


@pytest.mark.parametrize("first", [[2, 2], [31], [-1]])
def test_those_to_come_first_that_are_none_are_told_and_do_no_harm(first):
    selection = chosen(products(31, 40), 31, None, torch.tensor(first))
    assert sorted(selection.chosen.tolist()) == list(range(31))
    with pytest.raises(InputError, match="none of them twice"):
        selection.check()


@reproducible
@given(
    seed=st.integers(0, 2**32 - 1),
    tokens=st.integers(1, 16),
    dims=st.integers(1, 12),
    copies=st.integers(1, 3),
    k=st.integers(1, 50),
    zeros=st.booleans(),
    ahead=st.integers(0, 3),
)
def test_what_always_holds(seed, tokens, dims, copies, k, zeros, ahead):
    gram = products(tokens, dims, seed, mean=seed % 3).repeat(copies, copies)
    total = len(gram)
    weights = weights_of(total, seed)
    if zeros:
        weights[:: 1 + seed % 4] = 0
    first = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:ahead]
    k = max(k, len(first))  # which all stay
    selection = chosen(gram, k, weights, first)
    kept = selection.chosen.tolist()
    assert kept[: len(first)] == first.tolist()
    assert sorted(kept) == selection.indices.tolist()
    assert len(set(kept)) == min(k, total) and set(kept) <= set(range(total))
    assert selection.order[: len(kept)].tolist() == kept
    assert sorted(selection.order.tolist()) == list(range(total))
    assert (selection.energy[len(first) :].diff() <= 0).all() and (selection.captured.diff() >= 0).all()
    assert holds_as_much(selection, gram, k, weights, first)
    assert is_greedy(selection, gram, weights, first)


def test_a_wrong_choice_would_be_seen():
    gram, weights = products(31, 40), weights_of(31)
    assert is_greedy(chosen(gram, 10, weights), gram, weights)
    assert not is_greedy(chosen(gram, 10), gram, weights)
    assert not is_greedy(chosen(gram, 10, weights, torch.tensor([3])), gram, weights)


def test_a_selection_can_be_copied_pickled_and_read_by_threads_at_once():
    gram = products(100, 200)
    selection, host = chosen(gram, 20), by_host(gram, 20)
    assert copy.copy(selection) is copy.deepcopy(selection) is selection
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: selection.order, range(8)))
    assert all(order is read[0] for order in read)
    again = pickle.loads(pickle.dumps(selection))
    assert type(again) is Selection
    for name in ("order", "indices", "chosen", "energy", "captured"):
        torch.testing.assert_close(getattr(again, name), getattr(host, name), rtol=1e-4, atol=1e-4)
    selection.check()  # the inner products are gone, what was told is not


def test_the_callers_matrix_may_change_afterwards():
    gram = products(100, 200)
    selection, host = chosen(gram, 20), by_host(gram.clone(), 20)
    gram.zero_()
    assert selection.order.tolist() == host.order.tolist()


class Allocations(TorchDispatchMode):
    """Bytes of what is made."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.empty.memory_format:
            self.bytes += made.nbytes
        return made


def test_a_choice_takes_the_factor_and_little_else():
    gram, weights, none = products(144, 160), weights_of(144), torch.empty(0, dtype=torch.int64)
    for k in (16, 50, 144):
        with Allocations() as allocations:
            launch.choose([launch.Job(gram, weights, none, k)])
        factor = 144 * -(-k // kernel.ALIGN) * kernel.ALIGN * 4
        assert factor <= allocations.bytes <= factor + 8 * (k + 32)
