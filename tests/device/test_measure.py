"""Measured sizes and times are those that were really used."""

import threading
import time

import pytest
import torch
from transformers import DynamicCache, StaticCache

from resprune.device import memory as module
from resprune.device.clock import PrefillTimer, now_ms
from resprune.device.memory import PeakMemory, kv_bytes

CPU = torch.device("cpu")
MB = 1_000_000


def work(megabytes: int) -> None:
    """Use so much memory, and give it back."""
    torch.ones(megabytes * MB // 4, dtype=torch.float32).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kv_bytes_of_a_dynamic_cache_are_exact(dtype):
    cache = DynamicCache()
    for layer in range(3):
        cache.update(torch.ones(2, 4, 5, 8, dtype=dtype), torch.ones(2, 4, 5, 8, dtype=dtype), layer)
    assert kv_bytes(cache) == 3 * 2 * (2 * 4 * 5 * 8) * dtype.itemsize
    cache.update(torch.ones(2, 4, 1, 8, dtype=dtype), torch.ones(2, 4, 1, 8, dtype=dtype), 0)
    assert kv_bytes(cache) == (3 * 2 * (2 * 4 * 5 * 8) + 2 * (2 * 4 * 1 * 8)) * dtype.itemsize


def test_kv_bytes_of_a_cache_of_fixed_size_are_what_it_reserves(tiny):
    model, _ = tiny
    text = model.config.get_text_config()
    cache = StaticCache(config=text, max_cache_len=64)
    states = torch.ones(1, text.num_key_value_heads, 5, text.head_dim)
    for layer in range(text.num_hidden_layers):
        cache.update(states, states, layer)
    reserved = text.num_hidden_layers * 2 * text.num_key_value_heads * 64 * text.head_dim * 4
    assert reserved <= kv_bytes(cache) < reserved * 1.01  # and the counters of its length


def test_an_empty_cache_has_no_bytes():
    assert kv_bytes(DynamicCache()) == 0


def test_a_device_is_awaited_before_its_clock_is_read(monkeypatch):
    awaited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", awaited.append)
    now_ms(CPU)
    assert awaited == []
    now_ms(torch.device("cuda:1"))
    assert awaited == [torch.device("cuda:1")]


class Slow(torch.nn.Module):
    def forward(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds


def test_the_first_forward_pass_is_timed_and_no_other():
    module = Slow()
    with PrefillTimer(module, CPU) as timer:
        module(0.02)
        module(0.2)
    assert 20 <= timer.ms < 190
    assert not module._forward_hooks and not module._forward_pre_hooks


def test_the_passes_of_other_threads_are_not_timed():
    module = Slow()
    with PrefillTimer(module, CPU) as timer:
        other = threading.Thread(target=module, args=(0.4,))
        other.start()
        time.sleep(0.2)
        module(0.02)
        other.join()
    assert 20 <= timer.ms < 190


@pytest.mark.parametrize("resettable", [True, False], ids=["high-water mark", "sampling"])
def test_peak_memory_is_that_of_the_block(resettable, monkeypatch):
    if not resettable:
        monkeypatch.setattr(module, "_reset_high_water", lambda: False)
    work(200)  # what came before does not count, neither as peak nor as memory already there
    with PeakMemory(CPU) as memory:
        work(80)
        time.sleep(0.05)
    assert 70 * MB < memory.bytes < 110 * MB  # counters of the kernel are a little behind, and so are samples
    with PeakMemory(CPU) as memory:
        pass
    assert memory.bytes < 10 * MB


def test_memory_that_an_earlier_run_left_behind_hides_nothing():
    def fill_heap() -> torch.Tensor:
        """100 MB in pieces too small to go back to the system by themselves, since the last one stays."""
        pieces = [torch.ones(8000, dtype=torch.float32) for _ in range(3125)]
        return pieces[-1]

    last = fill_heap()
    with PeakMemory(CPU) as memory:
        last = last + fill_heap()
    assert memory.bytes > 80 * MB


def test_sampling_ends_with_the_block_even_if_it_fails(monkeypatch):
    monkeypatch.setattr(module, "_reset_high_water", lambda: False)
    before = threading.active_count()
    with pytest.raises(KeyError), PeakMemory(CPU):
        raise KeyError
    assert threading.active_count() == before


def test_where_the_system_does_not_tell_peak_memory_is_unknown(monkeypatch):
    monkeypatch.setattr(module, "_status_bytes", lambda _: None)
    before = threading.active_count()
    with PeakMemory(CPU) as memory:
        work(1)
    assert memory.bytes is None and threading.active_count() == before


def test_on_cuda_the_allocator_tells(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", calls.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12345)
    with PeakMemory(torch.device("cuda")) as memory:
        assert calls == [torch.device("cuda")] and memory.bytes is None
    assert memory.bytes == 12345
