"""The kernel without an accelerator: in Triton's interpreter, and compiled for cards that are not there."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resprune.selection import kernel, launch

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
