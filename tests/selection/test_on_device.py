"""Where the choice is made: which devices serve, what happens where one fails, and tokens that come first."""

import pytest
import torch
from choices import by_host, products
from remote import accelerator, there

from resprune.errors import InputError
from resprune.selection import kernel, launch, on_device, select
from resprune.selection.on_device import NO_MEMORY, select_on_device, serves

CARD = torch.device("cuda", 0)


def choice(tokens=64, dims=90, k=20):
    return [products(tokens, dims)], [k], [None], [None]


@pytest.mark.parametrize(
    ("error", "note", "lasting"),
    [
        (torch.OutOfMemoryError("full"), NO_MEMORY, False),
        (launch.NotLaunched("too many.", lasting=False), "The tokens were chosen on the host: too many.", False),
        (launch.NotLaunched("no compiler.", lasting=True), "The tokens were chosen on the host: no compiler.", True),
    ],
)
def test_where_the_device_does_not_choose_the_host_does_and_says_so(error, note, lasting, monkeypatch):
    def fails(jobs):
        raise error

    monkeypatch.setattr(launch, "choose", fails)
    monkeypatch.setattr(on_device, "_failed", {})
    (selection,) = select_on_device(*choice())
    assert selection.note == note
    assert selection.order.tolist() == by_host(products(64, 90), 20).order.tolist()
    assert bool(on_device._failed) == lasting
    selection.check()


class TestServes:
    @pytest.fixture(autouse=True)
    def unknown(self, monkeypatch):
        monkeypatch.setattr(on_device, "_failed", {})
        monkeypatch.setattr(kernel, "triton", object())
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A card")
        for function in (on_device._lacks, on_device._say):
            function.cache_clear()
        yield
        for function in (on_device._lacks, on_device._say):
            function.cache_clear()

    def test_the_host_is_no_accelerator_and_nothing_is_said(self, recwarn):
        assert not serves(torch.device("cpu")) and not serves(torch.device("meta"))
        assert not recwarn.list

    def test_a_card_does(self, recwarn):
        assert serves(CARD)
        assert not recwarn.list

    def test_others_do_not_and_it_is_said_once(self, monkeypatch):
        with pytest.warns(RuntimeWarning, match="the kernel is for CUDA"):
            assert not serves(torch.device("mps"))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
        with pytest.warns(RuntimeWarning, match="A card is older than compute capability 7.0"):
            assert not serves(CARD)

    def test_without_triton(self, monkeypatch, recwarn):
        monkeypatch.setattr(kernel, "triton", None)
        assert not serves(CARD) and not serves(CARD)
        assert [str(warning.message) for warning in recwarn.list] == [
            "Tokens are chosen on the host, which takes longer: Triton is not installed."
        ]

    def test_rocm(self, monkeypatch):
        monkeypatch.setattr(torch.version, "hip", "6.4")
        with pytest.warns(RuntimeWarning, match="the kernel is for CUDA"):
            assert not serves(CARD)

    def test_where_a_launch_failed_it_is_not_tried_again(self, monkeypatch):
        on_device._failed[CARD] = "no compiler."
        with pytest.warns(RuntimeWarning, match="no compiler"):
            assert not serves(CARD)


class TestSelect:
    def test_a_tensor_on_the_host_is_chosen_from_there(self):
        matrix = products(64, 90)
        for given_ in (matrix, matrix.numpy()):
            assert select(given_, 20, None).order.tolist() == by_host(matrix, 20).order.tolist()

    def test_a_tensor_of_another_accelerator_comes_to_the_host_once(self):
        matrix = products(64, 90)
        with accelerator() as notes:
            selection = select(there(matrix), 20, None)
        assert notes == ["wait: _to_copy"]
        assert selection.chosen.device.type == "meta"

    def test_those_that_come_first(self):
        matrix, first = products(64, 20), torch.tensor([40, 7, 0])
        selection = select(matrix, 10, None, first=first)
        assert selection.chosen[:3].tolist() == [40, 7, 0]
        whole = select(matrix, 64, None, first=first)
        assert whole.order[:10].tolist() == selection.chosen.tolist()
        assert (whole.captured.diff() >= 0).all() and whole.captured[-1] == pytest.approx(1, abs=1e-4)
        assert select(matrix, 2, None, first=first).chosen.tolist() == [40, 7, 0]
        everything = select(matrix, 64, None).order
        assert select(matrix, 64, None, first=everything[:5]).order[:20].tolist() == everything[:20].tolist()
        assert select(matrix, 64, None, first=everything.flip(0)).order.tolist() == everything.flip(0).tolist()

    def test_duplicates_that_come_first_add_nothing(self):
        matrix = torch.ones(6, 6)
        selection = select(matrix, 4, torch.tensor([1.0, 1, 1, 5, 1, 9]), first=torch.tensor([2, 0]))
        assert selection.order.tolist() == [2, 0, 5, 3, 1, 4]
        assert selection.energy.tolist() == [torch.inf, torch.inf, 0, 0, 0, 0]
        assert selection.captured.tolist() == [0, 0, 1, 1, 1, 1]
        assert (select(torch.zeros(3, 3), 2, None, first=torch.tensor([2])).captured == torch.tensor([0, 1, 1])).all()

    @pytest.mark.parametrize("first", [[2, 2], [6], [-1]])
    def test_first_that_are_none_or_twice_are_refused(self, first):
        with pytest.raises(InputError, match="none of them twice"):
            select(torch.eye(6), 3, None, first=torch.tensor(first))

    @pytest.mark.parametrize("first", [torch.tensor([[1]]), torch.tensor([1.0])])
    def test_first_of_another_kind_are_refused(self, first):
        with pytest.raises(InputError, match=r"give \[P\] int64"):
            select(torch.eye(6), 3, None, first=first)
