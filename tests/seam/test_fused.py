"""Attention with a mask, by the kernels of PyTorch that take one: exact, and nothing copied."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from resprune.seam import fused
from resprune.seam.attention import States
from resprune.seam.fused import Fused
from resprune.seam.masks import added, square

ON_A_CARD = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")]
CARD = pytest.param("cuda", marks=ON_A_CARD)
NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
# Batch, heads of queries and of keys, queries, keys.
SHAPES = {
    "each head its own": (2, 4, 4, 21, 21),
    "shared": (1, 4, 2, 21, 21),
    "shared, batch": (3, 6, 2, 21, 21),
    "one for all": (2, 4, 1, 21, 21),
    "more keys than queries": (1, 4, 2, 9, 21),
    "one query": (2, 4, 4, 1, 21),
    "one query, shared": (2, 4, 2, 1, 21),
    "one query and key": (1, 4, 4, 1, 1),
}


def operands(batch, heads, shared, queries, keys, dtype=torch.float32, device="cpu", width=64):
    """States as a decoder leaves them, and a bias with a column of padding in all rows but the first."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, queries, heads, width, generator=generator).transpose(1, 2)
    key, value = (torch.randn(batch, shared, keys, width, generator=generator) for _ in range(2))
    bias = 3 * torch.rand(batch, 1, 1, keys, generator=generator)
    visible = torch.ones_like(bias, dtype=torch.bool)
    visible[1:, ..., 0] = keys == 1
    states = States(*(tensor.to(device, dtype) for tensor in (query, key, value)))
    return states, added(visible.to(device), bias.to(device), dtype)


def by_hand(states, mask):
    """``[B, queries, heads, d]`` in float64."""
    query, key, value = (tensor.double() for tensor in states)
    key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], 1) for tensor in (key, value))
    logits = query @ key.mT * query.shape[-1] ** -0.5 + mask.double()
    return (logits.softmax(-1) @ value).transpose(1, 2)


class Copies(TorchDispatchMode):
    """Notes what writes numbers to memory, views apart, and how many."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.made.append((func.overloadpacket.__name__, getattr(result, "numel", lambda: 0)()))
        return result


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_attention_with_the_bias_added(shape, dtype, device):
    states, row = operands(*shape, dtype, device)
    queries = shape[3]
    masks = [row] if queries == 1 else [row, square(row, queries)]
    for mask in masks:
        kernels = Fused()
        matrix_of_each, one_on_cpu = shape[0] > 1 and mask.shape[2] > 1, queries == 1 and device == "cpu"
        refused = shape[1] != shape[2] and (matrix_of_each or one_on_cpu)
        kernel = kernels.kernel_for(states, mask)
        assert device != "cpu" or (kernel is None) == refused
        if kernel is None:
            continue
        found = kernel(states, mask, None)
        expected, seen = by_hand(states, masks[-1]), slice(1, None) if queries > 1 else slice(None)
        assert found.is_contiguous() and found.dtype == dtype
        assert (found - expected)[:, seen].abs().max() < NEAR[dtype]  # the first query of a padded row sees nothing
        assert queries == 1 or (found - by_hand(states, torch.zeros_like(row)))[:, seen].abs().max() > 0.1


@pytest.mark.parametrize("shape", ["each head its own", "shared", "one query", "one query, shared"])
def test_no_operand_is_copied(shape):
    states, row = operands(*SHAPES[shape])
    kernels = Fused()
    kernels._by_name(states, row, None)  # the mask for grouped heads is made once
    with Copies() as copies:
        kernels._by_name(states, row, None)
    assert len(copies.made) == 1 and copies.made[0][0].startswith("_scaled_dot_product")


class TestWithoutACard:
    """What the kernel for CUDA would get, told by tensors that only know their shapes."""

    def given(self, shape, monkeypatch):
        """The operands of the kernel beside those of the layer, what it gives, and what was copied."""
        noted = []
        stock = fused._KERNELS["cuda"]
        monkeypatch.setattr(fused, "_has_door", lambda states, mask: False)
        monkeypatch.setattr(fused, "_taken", lambda states, mask: True)
        monkeypatch.setitem(fused._KERNELS, "cuda", lambda *given: noted.append(given) or stock(*given))
        with FakeTensorMode():
            states, row = operands(*shape, dtype=torch.bfloat16, device="cuda")
            kernels = Fused()
            kernel = kernels.kernel_for(states, row)
            kernel(states, row, None)
            with Copies() as copies:
                found = kernel(states, row, None)
        return states, noted[-1], found, [name for name, _ in copies.made]

    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_keys_and_values_are_where_they_were(self, shape, monkeypatch):
        batch, heads, _, queries, _ = shape
        states, (taken, mask, _, causal), found, copied = self.given(shape, monkeypatch)
        assert causal == (queries > 1)
        assert found.shape == (batch, queries, heads, 64) and found.is_contiguous() and found.device.type == "cuda"
        for one, other in zip(states[1:], taken[1:], strict=True):
            assert one.untyped_storage()._cdata == other.untyped_storage()._cdata
        assert all(tensor.shape[:2] == taken.query.shape[:2] for tensor in taken)
        assert all(stride % 8 == 0 for tensor in (*taken, mask) for stride in tensor.stride()[:-1])
        shared = heads > taken.query.shape[1] and queries > 1
        # In a batch the queries of grouped heads are put in order, and what they find always is.
        assert copied.count("clone") == shared * (2 if batch > 1 else 1)


def test_what_stock_does_copies_keys_and_values(monkeypatch):
    """What the test above can see."""
    (query, key, value), row = operands(*SHAPES["shared"])
    with Copies() as copies:
        scaled_dot_product_attention(query, *(t.repeat_interleave(2, 1) for t in (key, value)), square(row, 21))
    assert sum(size >= 2 * key.numel() for _, size in copies.made) >= 2


def test_the_kernel_is_looked_for_once(monkeypatch):
    states, row = operands(*SHAPES["shared"])
    asked, stock = [], fused._taken
    monkeypatch.setattr(fused, "_taken", lambda *given: asked.append(1) or stock(*given))
    kernels = Fused()
    assert all(kernels.kernel_for(states, row) for _ in range(5)) and len(asked) == 1
    half = States(*(tensor.bfloat16() for tensor in states))
    assert kernels.kernel_for(half, row.bfloat16()) and len(asked) == 2


def taken(states, mask):
    return Fused().kernel_for(states, mask) is not None


@pytest.mark.parametrize("case", ["mixed types", "gradients", "elsewhere", "turned off"])
def test_all_else_goes_another_way(case):
    states, row = operands(*SHAPES["shared"])
    if case == "mixed types":
        assert not taken(states._replace(query=states.query.bfloat16()), row)
    elif case == "gradients":
        asking = states._replace(query=states.query.requires_grad_())
        assert not taken(asking, row)
        with torch.no_grad():
            assert taken(asking, row)
    elif case == "elsewhere":
        assert not taken(States(*(tensor.to("meta") for tensor in states)), row.to("meta"))
    else:
        before = torch.backends.cuda.flash_sdp_enabled()
        torch.backends.cuda.enable_flash_sdp(False)
        try:
            assert not taken(states, row)
        finally:
            torch.backends.cuda.enable_flash_sdp(before)
        assert taken(states, row)


@pytest.mark.parametrize(
    ("queries", "keys"),
    [pytest.param(703, 703, marks=ON_A_CARD, id="prefill"), pytest.param(1, 704, marks=ON_A_CARD, id="decoding")],
)
def test_on_a_card_one_kernel_gets_everything_as_it_is(queries, keys):
    """LLaVA-NeXT's shape."""
    states, row = operands(1, 32, 8, queries, keys, torch.bfloat16, "cuda", 128)
    kernel = Fused().kernel_for(states, row)
    kernel(states, row, None)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        kernel(states, row, None)
        torch.cuda.synchronize()
    names = [event.name for event in trace.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    own = [name for name in names if "cudnn" in name or "fmha" in name]
    rest = [name for name in names if name not in own and "Memset" not in name]
    assert 1 <= len(own) <= 2 and len(rest) <= (
        queries > 1
    )  # at most, what many queries of grouped heads find is put in order
