"""Inner products on a card that is not there: in which type they are taken."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from resprune.selection import gram, inner_products

CARD = torch.device("cuda", 0)


class Products(TorchDispatchMode):
    """Notes the types of each matrix product and of its result."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.mm:
            self.taken.append((args[0].dtype, made.dtype))
        return made


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        (SimpleNamespace(fp32_precision="ieee"), False),
        (SimpleNamespace(fp32_precision="none"), False),
        (SimpleNamespace(fp32_precision="tf32"), True),
        (SimpleNamespace(allow_tf32=True), True),  # PyTorch 2.8
        (SimpleNamespace(allow_tf32=False), False),
    ],
)
def test_tf32_is_seen_however_it_was_allowed(settings, rounds, monkeypatch):
    assert gram._rounds_products() is False  # its default, by the names that PyTorch has
    monkeypatch.setattr(torch.backends.cuda, "matmul", settings)
    assert gram._rounds_products() is rounds


def test_inner_products_of_a_card_keep_float32(monkeypatch):
    """On tensors without values: which product is taken in which type."""
    taken = []
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        for rounds in (False, True):
            monkeypatch.setattr(gram, "_rounds_products", lambda rounds=rounds: rounds)
            with FakeTensorMode(), Products() as products_taken:
                made = inner_products(torch.empty(6, 4, dtype=dtype, device=CARD))
            assert made.dtype == torch.float32 and made.shape == (6, 6) and made.device == CARD
            taken.append(products_taken.taken)
    exact, double = [(torch.float32, torch.float32)], [(torch.float64, torch.float64)]
    halves = [[(half, torch.float32)] for half in (torch.bfloat16, torch.float16) for _ in range(2)]
    assert taken == [*halves, exact, double, exact, double]
