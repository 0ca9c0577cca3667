"""The kernel without an accelerator: in Triton's interpreter, and compiled for cards that are not there."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from choices import by_host, products
from hypothesis import given
from hypothesis import strategies as st
from remote import accelerator, there

from resprune.errors import InputError
from resprune.selection import gram, inner_products, kernel, launch, mass_from_gram, on_device, select
from resprune.selection.on_device import NO_MEMORY, select_on_device, serves

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(
    kernel.triton is None or bool(os.environ.get("TRITON_INTERPRET")), reason="needs Triton, not in its interpreter"
)
CARD = torch.device("cuda", 0)


@needs_triton
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "interpreted.py")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:]


class Launched:
    """Stands for a kernel, and notes how it would be compiled and on which grid it would run."""

    def __init__(self, function, plain):
        from triton.backends.compiler import GPUTarget
        from triton.compiler import make_backend
        from triton.runtime.jit import create_function_from_signature

        made = kernel.triton.jit(function, do_not_specialize=plain)
        self._bind = create_function_from_signature(
            made.signature, made.params, make_backend(GPUTarget("cuda", 90, 32))
        )
        self.compiled, self.grids = [], []

    def __getitem__(self, grid):
        def launched(*args, **kwargs):
            self.compiled.append(str(self._bind(*args, **kwargs)[1:]))
            self.grids.append(grid)

        return launched


@pytest.fixture
def launched(monkeypatch):
    """What would be launched on a card of 132 multiprocessors."""
    describe = Launched(kernel._describe, kernel._PLAIN["describe"])
    choose = Launched(kernel._choose, kernel._PLAIN["choose"])
    monkeypatch.setattr(kernel, "describe", describe)
    monkeypatch.setattr(kernel, "choose", choose)
    monkeypatch.setattr(launch, "programs_of", lambda device: 132)
    return SimpleNamespace(describe=describe, choose=choose)


def jobs_of(tokens: int, k: int, images: int = 1) -> list[launch.Job]:
    first = torch.empty(3, dtype=torch.int64)
    matrix = torch.empty(tokens, tokens)
    weights = torch.empty(tokens + 1)
    return [launch.Job(matrix, weights[image % 2 :][:tokens], first[image % 2 :], k) for image in range(images)]


@needs_triton
def test_a_new_number_of_tokens_or_budget_compiles_nothing(launched):
    for tokens, k in [(577, 64), (640, 128), (641, 1), (992, 16), (1023, 1023)]:
        launch.choose(jobs_of(tokens, k))
    assert len(set(launched.choose.compiled)) == len(set(launched.describe.compiled)) == 1
    for tokens, k in [(1041, 65), (1296, 288), (1500, 1), (2048, 16)]:
        launch.choose(jobs_of(tokens, k))
    assert len(set(launched.choose.compiled)) == 2
    for tokens in range(1, 2881, 37):
        launch.choose(jobs_of(tokens, 1 + tokens // 5))
    assert len(set(launched.describe.compiled)) == 1
    assert len(set(launched.choose.compiled)) <= 5


@needs_triton
def test_a_batch_is_one_launch_where_it_fits_and_several_else(launched):
    assert len(launch.choose(jobs_of(576, 128, images=8))) == 8
    assert launched.choose.grids == [(9, 8)] and launched.describe.grids == [(1,)] * 8
    launched.choose.grids.clear()
    rows = launch.choose(jobs_of(2880, 40, images=20))
    assert launched.choose.grids == [(12, 10)] * 2
    assert [len(row) for row in rows] == [kernel.FAULTS + 40] * 20
    launched.choose.grids.clear()
    launch.choose(jobs_of(576, 9) + jobs_of(2880, 5))
    assert launched.choose.grids == [(45, 2)]


@given(tokens=st.integers(1, 40_000), images=st.integers(1, 200), programs=st.integers(1, 200))
def test_all_programs_are_resident_and_all_columns_in_one(tokens, images, programs):
    block = launch.block_of(tokens, images, programs)
    if block is None:
        assert -(-tokens // max(launch.BLOCKS)) * images > programs
    else:
        parts = -(-tokens // block)
        assert parts * images <= programs
        assert launch.shape_of(block, parts)["PARTS"] >= parts


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_for_cards_that_are_not_there(capability, tmp_path, monkeypatch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    target = GPUTarget("cuda", capability, 32)
    kinds = {"jobs": "*i64", "tokens": "*i32", "arrived": "*i32", "told": "*i64", "first": "*i64"} | dict.fromkeys(
        ("image", "factor", "n", "k", "p", "width"), "i32"
    )
    named = {name: kinds.get(name, "*fp32") for name in kernel.describe.arg_names}
    assert triton.compile(ASTSource(kernel.describe, named), target=target).asm["cubin"]
    for block in launch.BLOCKS:
        shape = launch.shape_of(block, 40)
        options = {"num_warps": shape.pop("num_warps"), "launch_cooperative_grid": True}
        constants = {**shape, "SPENT": launch.SPENT}
        kinds["factor"] = "*fp32"
        named = {name: kinds.get(name, "*fp32") for name in kernel.choose.arg_names} | dict.fromkeys(
            constants, "constexpr"
        )
        aligned = {(kernel.choose.arg_names.index("factor"),): [["tt.divisibility", 16]]}
        made = triton.compile(ASTSource(kernel.choose, named, constants, aligned), target=target, options=options)
        assert made.metadata.launch_cooperative_grid
        assert "ld.global.cg.v4" in made.asm["ptx"], "the factor is read in fours"


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


@pytest.mark.parametrize(
    ("said", "raised"),
    [("Triton Error [CUDA]: out of memory", torch.OutOfMemoryError), ("Failed to find C compiler", launch.NotLaunched)],
)
def test_what_the_compiler_or_the_driver_say_is_passed_on(said, raised, monkeypatch):
    class Broken:
        def __getitem__(self, grid):
            raise RuntimeError(said)

    monkeypatch.setattr(kernel, "describe", Broken(), raising=False)
    with pytest.raises(raised, match=said.split(":")[-1].strip()):
        launch.choose(jobs_of(20, 5))


def test_too_many_tokens_are_no_lasting_failure(monkeypatch):
    monkeypatch.setattr(launch, "programs_of", lambda device: 4)
    with pytest.raises(launch.NotLaunched, match="1025 tokens are too many") as failure:
        launch.choose(jobs_of(1025, 5, images=1))
    assert not failure.value.lasting


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
    from torch._subclasses.fake_tensor import FakeTensorMode

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


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.taken = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.mm:
            self.taken.append((args[0].dtype, made.dtype))
        return made


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


@given(data=st.data(), total=st.integers(1, 30), alike=st.sampled_from([-1.0, 0.0, 0.7, 1.0]))
def test_mass_on_an_accelerator_is_the_hosts_and_waits_for_nothing(data, total, alike):
    # Whole numbers: duplicates and ties come often, and no rounding decides.
    row = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
    rows = torch.tensor(data.draw(st.lists(row, min_size=total, max_size=total))).float()
    kept = torch.tensor(data.draw(st.lists(st.integers(0, total - 1), min_size=1, unique=True)))
    matrix = rows @ rows.T
    with accelerator() as notes:
        mass = mass_from_gram(there(matrix), there(kept), alike)
    assert notes == []
    assert mass.values.tolist() == mass_from_gram(matrix.numpy(), kept, alike).tolist()
    assert mass.values.dtype == torch.float32
