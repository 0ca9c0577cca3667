"""Mass inside attention: through transformers' own registries, exactly."""

import gc
import weakref

import pytest
import torch
import zoo
from prompts import MODES, PROMPTS, TOKENS, difference, generate, positions_of, prompt_inputs
from tiny import IMAGE
from transformers import AttentionInterface
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.gemma2 import modeling_gemma2 as gemma2

import resprune
from resprune.seam import mass_attention
from resprune.seam.attention import Attention, States
from resprune.seam.fused import Fused
from resprune.seam.masks import added, square
from resprune.seam.mass_attention import carried
from resprune.selection.mass import mass_of


def random_bias(inputs, seed=0):
    """A bias as large as the masses of a small budget give, on the image's columns."""
    uniform = torch.rand(inputs["input_ids"].shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(inputs["input_ids"] == IMAGE, 3 * uniform, 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", PROMPTS.values(), ids=PROMPTS)
def test_every_step_equals_one_uncached_pass_with_the_bias_in_a_4d_mask(tiny, rows, mode):
    model, processor = tiny
    inputs = prompt_inputs(processor, rows)
    bias = random_bias(inputs)
    with carried(model, bias):
        output = generate(model, inputs, **MODES[mode], output_scores=True)
    copies = len(output.sequences) // len(rows)
    steps, length = len(output.logits), inputs["input_ids"].shape[1]
    of_rows = inputs["pixel_values"].split([count for _, count in rows])
    pixels = torch.cat([images for images in of_rows for _ in range(copies)])
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, steps), value=1).repeat_interleave(copies, 0)
    seen = torch.ones(length + steps, length + steps, dtype=torch.bool).tril() & mask[:, None].bool()
    seen |= torch.eye(length + steps, dtype=torch.bool)  # a query that sees nothing would be undefined

    def logits(bias):
        bias = torch.nn.functional.pad(bias, (0, steps)).repeat_interleave(copies, 0)[:, None]
        with torch.no_grad():
            return model(
                input_ids=output.sequences,
                pixel_values=pixels,
                attention_mask=torch.where(seen, bias, torch.finfo(torch.float32).min)[:, None],
                position_ids=positions_of(mask),
                use_cache=False,
            ).logits[:, length - 1 : -1]

    if "num_beams" in MODES[mode]:  # their logits are not along the sequence that won: its score is
        written = output.sequences[:, length:, None]

        def scores(bias):
            return logits(bias).log_softmax(-1).gather(2, written)[..., 0].mean(1)

        assert (scores(bias) - output.sequences_scores).abs().max() < 1e-4
        assert (scores(torch.zeros_like(bias)) - output.sequences_scores).abs().max() > 1e-2
        return
    ours = torch.stack(output.logits, dim=1)
    assert (logits(bias) - ours).abs().max() < 1e-4
    assert (logits(torch.zeros_like(bias)) - ours).abs().max() > 1e-2


def test_a_bias_of_zero_changes_no_greedy_answer_and_leaves_no_trace(tiny):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
    plain = generate(model, inputs)
    before = dict(vars(model)), model.config.to_dict(), model.config.text_config._attn_implementation
    with carried(model, torch.zeros(inputs["input_ids"].shape)):
        zero = generate(model, inputs)
    assert difference(zero, plain) < 1e-4
    assert (dict(vars(model)), model.config.to_dict(), model.config.text_config._attn_implementation) == before
    assert difference(generate(model, inputs), plain) == 0


def attention_in_flash(module, query, key, value, mask, scaling=None, **_):
    """What flash attention gives, by hand: it takes a mask of columns, or none."""
    key, value = (states.repeat_interleave(module.num_key_value_groups, 1) for states in (key, value))
    queries, keys = query.shape[2], key.shape[2]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)[None, None]
    if mask is not None:
        assert mask.ndim == 2
        seen = seen & mask[:, None, None].bool()
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=scaling)
    return output.transpose(1, 2), None


@pytest.mark.parametrize("name", ["eager", "flash_attention_2"])
@pytest.mark.parametrize("mass", [False, True])
def test_a_model_keeps_its_attention_and_answers_the_same(tiny, name, mass, monkeypatch):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
    with resprune.pruned(model, processor, keep=9, mass=mass):
        by_sdpa = generate(model, inputs)
    plainly, names = [], []
    monkeypatch.setitem(
        AttentionInterface._global_mapping,
        "flash_attention_2",
        lambda *args, **options: plainly.append(1) or attention_in_flash(*args, **options),
    )
    text = model.config.text_config
    monkeypatch.setattr(text, "_attn_implementation_internal", name)
    hook = model.get_decoder().register_forward_pre_hook(lambda *_: names.append(text._attn_implementation))
    with resprune.pruned(model, processor, keep=9, mass=mass):
        answer = generate(model, inputs)
    hook.remove()
    assert difference(answer, by_sdpa) < 1e-4
    assert set(names) == {name}
    # With mass PyTorch's attention stands in for kernels that take no such mask.
    assert bool(plainly) == (name == "flash_attention_2" and not mass)
    assert difference(generate(model, inputs), by_sdpa) > 1e-2


@pytest.mark.parametrize("cap", [2.0, None])
def test_capped_logits_are_capped_before_the_bias(cap):
    """Gemma 2 on flash attention, which could cap but not favour: its own code stands in."""
    model, _ = zoo.tiny("paligemma2")
    layer = model.get_decoder().layers[1].self_attn
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, 5, 16, generator=generator) for heads in (4, 2, 2))
    bias = torch.rand(1, 1, 1, 5, generator=generator) * 3
    name, eager = "flash_attention_2", gemma2.eager_attention_forward
    output, _ = Attention(name, None, eager).masked(layer, States(query, key, value), bias, scaling=0.25, softcap=cap)
    key, value = (states.repeat_interleave(2, 1) for states in (key, value))
    logits = query @ key.transpose(2, 3) * 0.25
    capped = logits if cap is None else cap * (logits / cap).tanh()
    assert (output - ((capped + bias).softmax(-1) @ value).transpose(1, 2)).abs().max() < 1e-5
    assert cap is None or (output - ((logits + bias).softmax(-1) @ value).transpose(1, 2)).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["sdpa", "eager", "flash_attention_2"])
def test_all_layers_of_a_forward_pass_get_the_same_mask(tiny, name, monkeypatch):
    """And nothing but a row is made, unless the model's own code adds up matrices."""
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
    monkeypatch.setattr(model.config.text_config, "_attn_implementation_internal", name)
    rows, squares, given, layers = [], [], [], len(model.get_decoder().layers)
    monkeypatch.setattr(mass_attention, "added", lambda *made: rows.append(added(*made)) or rows[-1])
    monkeypatch.setattr(mass_attention, "square", lambda *made: squares.append(square(*made)) or squares[-1])
    fused, masked = Fused._by_name, Attention.masked
    monkeypatch.setattr(Fused, "_by_name", lambda self, *made: given.append(made[1]) or fused(self, *made))
    monkeypatch.setattr(
        Attention, "masked", lambda self, *made, **options: given.append(made[2]) or masked(self, *made, **options)
    )
    with resprune.pruned(model, processor, keep=9, mass=True):
        steps = len(generate(model, inputs).logits)
    assert len(rows) == steps and layers > 1
    assert all(row.shape[2] == 1 for row in rows)
    assert len(squares) == (name == "eager")
    made = [squares[0] if squares else rows[0], *rows[1:]]
    assert all(mask is made[index // layers] for index, mask in enumerate(given)) and len(given) == layers * steps


def test_a_compiled_decoder_stays_one_graph(tiny, monkeypatch):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["batch with padding"])
    decoder, graphs = model.get_decoder(), []
    with resprune.pruned(model, processor, keep=9, mass=True):
        answer = generate(model, inputs)
        compiled = torch.compile(decoder.forward, backend=lambda graph, _: graphs.append(1) or graph.forward)
        monkeypatch.setattr(decoder, "forward", compiled)
        assert difference(generate(model, inputs), answer) < 1e-4
    assert len(graphs) <= 3  # of the prompt, of one more token, and of any number of columns


def test_attention_that_asks_for_no_mask_is_told(tiny, monkeypatch):
    model, processor = tiny
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    monkeypatch.setitem(AttentionInterface._global_mapping, "of_my_own", attention_in_flash)
    monkeypatch.setattr(model.config.text_config, "_attn_implementation_internal", "of_my_own")
    with resprune.pruned(model, processor, keep=9):
        generate(model, inputs)
    with resprune.pruned(model, processor, keep=9, mass=True), pytest.raises(resprune.InputError, match="of_my_own"):
        generate(model, inputs)


@pytest.mark.parametrize("kept", [1, 5])
def test_one_token_with_its_mass_does_what_its_duplicates_did(tiny, kept):
    """Exact for duplicates at one position, in one layer: above it, causal attention has told duplicates apart."""
    model, processor = tiny
    model.config.text_config.num_hidden_layers = 1
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    ids, image = inputs["input_ids"], inputs["input_ids"][0] == IMAGE
    kinds = torch.randn(kept, 64, generator=torch.Generator().manual_seed(1))
    of_kind = torch.arange(TOKENS) % kept
    features = kinds[of_kind]
    last = torch.arange(TOKENS - kept, TOKENS)
    positions = positions_of(inputs["attention_mask"])
    positions[:, image] = positions[0, image][0]

    def logits(stay, bias=None):
        columns = ~image
        columns[image.nonzero()[stay, 0]] = True
        bias = (
            None if bias is None else torch.zeros(ids.shape)[:, columns].masked_scatter(ids[:, columns] == IMAGE, bias)
        )
        given = {"input_ids": ids[:, columns], "attention_mask": inputs["attention_mask"][:, columns]}
        with carried(model, bias), torch.no_grad():
            return model(
                **given,
                position_ids=positions[:, columns],
                mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=[features[stay]])},
            ).logits[0, -1]

    everything = logits(torch.arange(TOKENS))
    mass = mass_of(features, last)
    assert mass.sum() == TOKENS
    assert (logits(last, mass.log()) - everything).abs().max() < 1e-4
    assert (logits(last) - everything).abs().max() > 1e-2


def test_a_call_is_gone_when_it_has_ended(tiny, monkeypatch):
    """With its masks, at once: they may be large, and on an accelerator."""
    model, processor = tiny
    inputs, calls = prompt_inputs(processor, PROMPTS["one image"]), []
    made = mass_attention._Carrying.__init__
    monkeypatch.setattr(
        mass_attention._Carrying, "__init__", lambda self, *given: calls.append(weakref.ref(self)) or made(self, *given)
    )
    gc.collect()
    gc.disable()
    try:
        with resprune.pruned(model, processor, keep=9, mass=True):
            generate(model, inputs)
        assert [call() for call in calls] == [None]
    finally:
        gc.enable()
