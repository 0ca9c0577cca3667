"""Masks of numbers: what transformers would hide, one row where one tells all, laid out for the kernels."""

import pytest
import torch
from remote import Remote, accelerator, there
from transformers import DynamicCache, LlamaConfig, StaticCache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from resprune.seam.attention import Call, under_way
from resprune.seam.masks import ALIGNED, aligned, seen, seen_by_the_last, square
from resprune.seam.mass_attention import _STEPS, _Carrying

LENGTH = 37
LEAST = torch.finfo(torch.float32).min


def config(**options):
    given = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 8, **options}
    made = LlamaConfig(**given)
    made._attn_implementation = "sdpa"
    return made


class Asked(Call):
    """What transformers asks of a mask."""

    def __init__(self, of):
        super().__init__(of)
        self.options = []

    def mask(self, stock, options):
        self.options.append(options)
        return stock(**options)


def options_of(of, queries, known=None, cache=None, make=create_causal_mask, **more):
    """The options of a mask that transformers makes for this config."""
    call = Asked(of)
    with under_way(call):
        make(of, torch.zeros(len(known) if known is not None else 2, queries, 16), known, cache, **more)
    return call.options[0]


def filled(entries, of, kind=DynamicCache):
    cache = kind(config=of) if kind is DynamicCache else kind(config=of, max_cache_len=64)
    if entries:
        cache.update(torch.zeros(2, 2, entries, 8), torch.zeros(2, 2, entries, 8), 0)
    return cache


def padded(length):
    known = torch.ones(2, length, dtype=torch.long)
    known[1, :3] = 0
    return known


@pytest.mark.parametrize("known", [None, padded], ids=["", "padded"])
@pytest.mark.parametrize("cached", [0, 20], ids=["prefill", "decoding"])
def test_one_row_tells_what_the_whole_mask_says(known, cached):
    of = config()
    queries = 1 if cached else LENGTH
    options = options_of(of, queries, known and known(cached + queries), filled(cached, of))
    row = seen_by_the_last(options)
    assert row.shape == (2, 1, 1, cached + queries)
    numbers = torch.where(row, 0.0, LEAST)
    assert torch.equal((numbers if cached else square(numbers, queries)) == 0, seen(options))


def test_where_it_does_not_there_is_none():
    of = config(sliding_window=8)
    blocks = torch.full((2, LENGTH), -1)
    blocks[:, 4:9] = 0
    none = {
        "seen both ways": options_of(of, LENGTH, block_sequence_ids=blocks),
        "of its own": options_of(of, LENGTH, or_mask_function=lambda b, h, q, k: k < 3),
        "a window": options_of(of, LENGTH, make=create_sliding_window_causal_mask),
        "a second turn": options_of(of, 5, padded(25), filled(20, of)),
    }
    assert {name: seen_by_the_last(options) for name, options in none.items()} == dict.fromkeys(none)
    assert seen_by_the_last(options_of(of, 7, make=create_sliding_window_causal_mask)) is not None


def test_a_static_cache_is_not_waited_for():
    of = config()
    cache = filled(20, of, StaticCache)
    options = options_of(of, 1, padded(21), cache)
    assert isinstance(options["q_offset"], torch.Tensor)
    assert seen_by_the_last(options) is None


@pytest.mark.parametrize("keys", [1, 15, 16, 17, 190])
def test_rows_are_aligned_and_values_kept(keys):
    mask = torch.randn(2, 1, 5, keys)
    made = aligned(mask)
    assert torch.equal(made, mask)
    assert all(stride % ALIGNED == 0 for stride in made.stride()[:-1]) and made.stride(-1) == 1
    assert all(stride % ALIGNED == 0 for stride in square(made[:, :, :1], 3).stride()[:-1])


class TestCarrying:
    """Masks with the bias of a call."""

    BIAS = 3 * torch.rand(2, LENGTH, generator=torch.Generator().manual_seed(0))

    def steps(self, call, of, dtype=torch.float32, count=3, rows=2):
        """The masks of a prompt and of ``count`` tokens after it."""
        with under_way(call):
            made = []
            for step in range(count + 1):
                known = padded(LENGTH + step).repeat_interleave(rows // 2, 0)
                cache = filled(LENGTH + step - 1, of) if step else None
                states = torch.zeros(rows, 1 if step else LENGTH, 16, dtype=dtype)
                made.append(create_causal_mask(of, states, known, cache))
        return made

    @pytest.mark.parametrize("rows", [2, 6], ids=["", "beams"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_each_is_a_row_with_the_bias_and_the_padding(self, dtype, rows):
        of = config()
        for step, mask in enumerate(self.steps(_Carrying(of, self.BIAS, None), of, dtype, rows=rows)):
            expected = torch.nn.functional.pad(self.BIAS, (0, step)).to(dtype)
            expected = expected.masked_fill(padded(LENGTH + step) == 0, torch.finfo(dtype).min)
            assert mask.dtype == dtype
            assert torch.equal(mask[:, 0, 0], expected.repeat_interleave(rows // 2, 0))
            assert all(stride % ALIGNED == 0 for stride in mask.stride()[:-1])

    def test_the_bias_is_prepared_once(self):
        of = config()
        call = _Carrying(of, self.BIAS, None)
        self.steps(call, of)
        prepared = call._rows
        self.steps(call, of)
        assert call._rows is prepared
        options = {"kv_offset": 0, "batch_size": 2, "dtype": torch.float32, "device": torch.device("cpu")}
        more = LENGTH + _STEPS + 1
        assert torch.equal(
            call._of_keys(options | {"kv_length": more})[:, 0, 0], torch.nn.functional.pad(self.BIAS, (0, _STEPS + 1))
        )
        assert call._rows is not prepared

    def test_nobody_waits_for_the_device(self):
        of = config()
        call = _Carrying(of, there(self.BIAS), None)
        asked = [options_of(of, LENGTH, padded(LENGTH)), options_of(of, 1, padded(LENGTH + 1), filled(LENGTH, of))]
        plain = [_Carrying(of, self.BIAS, None).mask(None, options) for options in asked]
        with accelerator() as notes:
            made = []
            for options in asked:
                remote = there({"attention_mask": options["attention_mask"]})
                made.append(call.mask(None, options | remote | {"device": remote["attention_mask"].device}))
            squared = square(made[0], LENGTH)
        assert notes == []
        assert all(isinstance(mask, Remote) for mask in (*made, squared))
        assert all(torch.equal(mask.values, same) for mask, same in zip(made, plain, strict=True))
        assert torch.equal(squared.values, square(plain[0], LENGTH))
