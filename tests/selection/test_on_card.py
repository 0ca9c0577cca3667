"""The choice on a card: the host's, without a wait, beside other work, and with its memory free again."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import choices
import pytest
import torch
from choices import by_host, holds_as_much, is_greedy, weights_of

from resprune.errors import InputError
from resprune.selection import (
    DeviceSelection,
    Selection,
    greedy_from_gram,
    greedy_subspace,
    inner_products,
    kernel,
    launch,
    mass_from_gram,
    mass_of,
    select,
    select_on_device,
    serves,
)
from resprune.selection.on_device import NO_MEMORY

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")]
CARD = torch.device("cuda", 0)
SIZES = [(576, 128), (577, 64), (1024, 200), (1296, 288), (1297, 1), (2304, 100), (2880, 640)]  # tokens, budget


@pytest.fixture(autouse=True, scope="module")
def served():
    assert serves(CARD), "this card is to be served"


def features(tokens: int, dims: int = 256, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """On the card; a spectrum that falls, on a common mean, as of projected patches."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tokens, dims, generator=generator) * torch.linspace(0, -3, dims).exp()
    return (rows + torch.randn(dims, generator=generator) * 0.5).to(CARD, dtype)


def products(tokens: int, dims: int = 256, seed: int = 0) -> torch.Tensor:
    return inner_products(features(tokens, dims, seed))


def one(gram, k, weights=None, first=None) -> DeviceSelection:
    (selection,) = select_on_device([gram], [k], [weights], [first])
    assert isinstance(selection, DeviceSelection), selection.note
    return selection


@contextmanager
def no_wait():
    """PyTorch refuses what would wait for the card."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 64, 100, 144])
def test_small_images_have_the_hosts_order(tokens, weighted):
    gram, weights = products(tokens), weights_of(tokens).to(CARD) if weighted else None
    for k in (1, (tokens + 1) // 2, tokens + 5):
        selection = one(gram, k, weights)
        assert is_greedy(selection, gram, weights) and holds_as_much(selection, gram, k, weights)
        assert selection.indices.tolist() == sorted(selection.chosen.tolist())
        assert selection.chosen.device == selection.order.device == selection.energy.device == CARD


@pytest.mark.parametrize(("tokens", "dims"), choices.DISTINCT)
def test_where_rounding_decides_nothing_the_order_is_the_hosts(tokens, dims):
    gram, k = choices.products(tokens, dims).to(CARD), (tokens + 1) // 2
    assert one(gram, k).chosen.tolist() == by_host(gram, k).chosen.tolist()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("tokens", "k"), SIZES)
def test_large_images_have_the_hosts_choice(tokens, k, weighted):
    gram, weights = products(tokens, 1024), weights_of(tokens).to(CARD) if weighted else None
    selection, host = one(gram, k, weights), by_host(gram, k, weights)
    shared = len(set(selection.chosen.tolist()) & set(host.chosen.tolist()))
    assert shared >= 0.9 * k  # where two tokens promise the same but for rounding, either may come, and others follow
    assert is_greedy(selection, gram, weights)
    assert selection.order[:k].tolist() == selection.chosen.tolist()
    assert holds_as_much(selection, gram, k, weights)
    selection.check()


def test_beyond_the_rank_and_of_one_colour():
    gram, weights = choices.products(700, 40).to(CARD), weights_of(700).to(CARD)
    assert sorted(one(gram, 700, weights).chosen.tolist()) == list(range(700))
    assert one(gram, 100, weights).chosen[40:].tolist() == by_host(gram, 100, weights).chosen[40:].tolist()
    same = torch.full((576, 576), 7.0, device=CARD)
    assert one(same, 128).chosen.tolist() == list(range(128))
    assert one(torch.zeros_like(same), 128).chosen.tolist() == list(range(128))


def test_those_that_come_first():
    gram, first = products(576), torch.tensor([500, 7, 7 + 32, 0])
    gram[39], gram[:, 39] = gram[7].clone(), gram[:, 7].clone()
    gram[39, 39] = gram[7, 7]
    with no_wait():
        selection = one(gram, 64, None, first)
    assert selection.chosen.tolist() == one(gram, 64, None, first.to(CARD)).chosen.tolist()
    assert selection.chosen[:4].tolist() == first.tolist()
    assert is_greedy(selection, gram, None, first)
    assert holds_as_much(selection, gram, 64, None, first)


def test_a_batch_is_each_image_alone():
    grams = [products(576, seed=seed) for seed in range(8)]
    weights = [None if seed % 2 else weights_of(576, seed).to(CARD) for seed in range(8)]
    batch = select_on_device(grams, [128] * 8, weights, [None] * 8)
    for selection, gram, scale in zip(batch, grams, weights, strict=True):
        assert holds_as_much(selection, gram, 128, scale)
        assert is_greedy(selection, gram, scale)


def test_images_of_different_sizes_and_more_than_fit_one_launch():
    sizes = [(2880, 40), (1, 1), (577, 64), (33, 40), (1296, 30)] * 8
    grams = [products(tokens, seed=i) for i, (tokens, _) in enumerate(sizes)]
    batch = select_on_device(grams, [k for _, k in sizes], [None] * len(sizes), [None] * len(sizes))
    for selection, gram, (tokens, k) in zip(batch, grams, sizes, strict=True):
        assert len(selection.indices) == min(k, tokens)
        assert holds_as_much(selection, gram, k)
        assert is_greedy(selection, gram)


@pytest.mark.parametrize("where", ["diagonal", "beside", "weight"])
def test_what_is_no_number_does_not_hang_and_is_told(where):
    gram, weights = products(1296), torch.ones(1296, device=CARD)
    if where == "weight":
        weights[700] = -1
    else:
        row = 700 if where == "diagonal" else int(gram.diagonal().argmax())
        gram[row, 700] = gram[700, row] = torch.nan
    selection = one(gram, 288, weights)
    assert len(selection.indices.unique()) == 288
    with pytest.raises(InputError, match="weights must be" if where == "weight" else "features hold NaN"):
        selection.check()


def test_nothing_is_waited_for():
    rows, weights = features(1296, 3584), torch.ones(1296, device=CARD)
    one(inner_products(rows), 288, weights).check()  # compiled, and page-locked memory is there
    with no_wait():
        gram = inner_products(rows)
        selection = one(gram, 288, weights)
        mass = mass_from_gram(gram, selection.chosen, 0.5)
        kept = rows[selection.indices]
    assert mass.sum() <= 1296 and len(kept) == 288
    with pytest.raises(RuntimeError, match="synchron"), no_wait():  # which would be seen
        selection.chosen.tolist()


def test_the_card_works_on_while_the_host_comes_back():
    gram = products(2880)
    one(gram, 640).check()
    torch.cuda._sleep(int(2e9))  # about a second
    end = torch.cuda.Event()
    selection = one(gram, 640)
    end.record()
    assert not end.query(), "the host waited"
    assert holds_as_much(selection, gram, 640)


def test_a_graph_chooses_anew_at_each_replay():
    gram, weights = products(576), torch.ones(576, device=CARD)
    first = torch.tensor([3])
    one(gram, 128, weights, first).check()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        selection = one(gram, 128, weights, first)
    for seed in range(3):
        gram.copy_(products(576, seed=seed))
        weights.copy_(weights_of(576, seed))
        graph.replay()
        assert is_greedy(selection, gram, weights, first)
    selection.check()
    assert holds_as_much(selection, gram, 128, weights, first)


def test_two_streams_at_once():
    grams = [products(1296, seed=seed) for seed in range(2)]
    alone = [one(gram, 100).chosen for gram in grams]
    torch.cuda.synchronize()
    streams, found = [torch.cuda.Stream() for _ in grams], [[], []]
    for _ in range(20):
        for stream, gram, results in zip(streams, grams, found, strict=True):
            with torch.cuda.stream(stream):
                results.append(one(gram, 100))
    torch.cuda.synchronize()
    for results, chosen in zip(found, alone, strict=True):
        assert all(torch.equal(selection.chosen, chosen) for selection in results)
        assert results[-1].order[:100].tolist() == chosen.tolist()


def test_two_threads_at_once():
    grams = [products(576, seed=seed) for seed in range(4)]
    alone = [one(gram, 128).chosen.tolist() for gram in grams]

    def ask(index):
        with torch.cuda.stream(torch.cuda.Stream()):
            selection = one(grams[index], 128)
            assert sorted(selection.order.tolist()) == list(range(576))
            return selection.chosen.tolist()

    torch.cuda.synchronize()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [0, 1, 2, 3] * 8)) == alone * 8


def test_memory_is_the_matrix_and_the_factor_and_free_again():
    tokens, k = 2880, 640
    rows = features(tokens)
    one(inner_products(rows), k).check()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(CARD)
    torch.cuda.reset_peak_memory_stats(CARD)
    selection = one(inner_products(rows), k)
    torch.cuda.synchronize()
    least = 4 * tokens * (tokens + k)
    assert (
        least <= torch.cuda.max_memory_allocated(CARD) - before <= least + 3 * 2**20
    )  # which the allocator may round up by
    selection.check()
    # What another stream still reads is given back at the next turn of the allocator.
    torch.empty(1, device=CARD)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated(CARD) - before <= 2**17
    assert len(selection.order) == tokens
    del selection
    assert torch.cuda.memory_allocated(CARD) <= before


def test_a_new_number_of_tokens_compiles_nothing():
    def compiled():
        return [len(function.device_caches[CARD.index][0]) for function in (kernel.describe, kernel.choose)]

    for tokens in (600, 1200):
        one(products(tokens), 64).check()
    before = compiled()
    for tokens, k in [(577, 1), (640, 128), (992, 16), (1100, 1), (1296, 288), (1300, 7)]:
        one(products(tokens), k, weights_of(tokens + 1).to(CARD)[1:], torch.arange(3)[1:]).check()
    assert compiled() == before
    assert before[0] == 1


def test_where_there_is_no_memory_the_host_chooses(monkeypatch):
    gram = products(576)

    def full(jobs):
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(launch, "choose", full)
    selection = select(gram, 128, None)
    assert selection.note == NO_MEMORY
    assert selection.chosen.device == CARD
    assert selection.chosen.tolist() == by_host(gram, 128).chosen.tolist()
    assert serves(CARD)


def test_a_limit_on_memory_is_met_by_the_host():
    rows = features(2880)
    inner_products(rows)  # the workspace of the product is there
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(CARD).total_memory
    for room in (8, 40):  # megabytes: none for the matrix, none for the factor
        held = torch.cuda.memory_reserved(CARD)
        torch.cuda.set_per_process_memory_fraction((held + room * 2**20) / total, CARD)
        try:
            selection = greedy_subspace(rows, 2880)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, CARD)
        assert selection.note == NO_MEMORY
        assert len(selection.indices) == 2880
        torch.cuda.empty_cache()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("tf32", [False, True])
def test_inner_products_are_those_of_float32(dtype, tf32, monkeypatch):
    rows = features(577, 4096, dtype=dtype) * (300 if dtype == torch.float16 else 1)  # too large for float16
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    with torch.autocast("cuda", torch.bfloat16):
        made = inner_products(rows)
    exact = rows.double() @ rows.double().T
    assert made.dtype == torch.float32
    scale = exact.diagonal().sqrt()
    assert ((made - exact) / (scale[:, None] * scale)).abs().max() < 5e-5
    assert torch.backends.cuda.matmul.allow_tf32 is tf32


def test_the_public_functions():
    rows, weights = features(576), weights_of(576)
    gram = inner_products(rows)
    assert is_greedy(greedy_subspace(rows, 64, weights.to(CARD)), gram, weights)
    known = greedy_from_gram(gram, 64, weights.to(CARD))
    same = gram.clone()
    gram.zero_()
    assert holds_as_much(known, same, 64, weights)
    gram[3, 5] = torch.inf
    with pytest.raises(InputError, match="features hold NaN or infinity"):
        greedy_from_gram(gram, 3).check()
    with pytest.raises(InputError, match="none of them twice"):
        select(products(64), 3, None, first=torch.tensor([1, 1])).check()


def test_a_selection_can_be_copied_and_pickled():
    selection = one(products(576), 64)
    assert copy.deepcopy(selection) is selection
    again = pickle.loads(pickle.dumps(selection))
    assert type(again) is Selection and again.order.device.type == "cpu"
    assert again.chosen.tolist() == selection.chosen.tolist()


@pytest.mark.parametrize("alike", [-1.0, 0.3, 0.9])
def test_mass_is_the_hosts(alike):
    rows = features(576)
    gram, kept = inner_products(rows), one(inner_products(rows), 64).chosen
    mass = mass_from_gram(gram, kept, alike)
    assert mass.device == CARD
    difference = (mass.cpu() - mass_from_gram(gram.cpu().numpy(), kept, alike)).abs()
    assert difference.sum() <= 2  # a product and its mirror image may differ in the last bit
    assert torch.equal(mass_of(rows, kept, alike), mass)
