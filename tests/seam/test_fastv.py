"""FastV: visual tokens that leave inside the language model, against the same model written out layer by layer."""

import pytest
import torch
from prompts import ANSWER, GRID, PROMPTS, TOKENS, difference, generate, prompt_inputs
from tiny import IMAGE, tiny_llava
from transformers import DynamicCache

import resprune
from resprune.errors import InputError
from resprune.seam.fastv_attention import LAYER

BUDGET = 9


@pytest.fixture
def deep():
    """A model with layers beyond those in which all tokens are read."""
    return tiny_llava(grid=GRID, layers=4)


@torch.no_grad()
def by_hand(model, inputs, budget, steps=ANSWER["max_new_tokens"], k=LAYER):
    """Greedy logits of one prompt without a cache: layer k - 1 chooses by its attention, from k on the rest is gone."""
    language = model.model.language_model
    ids, gone, logits = inputs["input_ids"], None, []
    features = model.model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
    columns = (inputs["input_ids"][0] == IMAGE).nonzero()[:, 0]
    for _ in range(steps):
        hidden = model.get_input_embeddings()(ids)
        hidden[0, columns] = torch.cat(list(features)).to(hidden.dtype)
        length = ids.shape[1]
        places = torch.arange(length)[None]
        rotary = language.rotary_emb(hidden, places)
        causal = torch.full((length, length), -torch.inf).triu(1)
        for i, layer in enumerate(language.layers):
            mask = causal.clone()
            if i >= k:
                mask[:, gone] = -torch.inf
                mask.fill_diagonal_(0)
            if i == k - 1 and gone is None:
                gone = columns[_last_row(layer, hidden, rotary)[columns].argsort(descending=True)[budget:]]
            hidden = layer(hidden, attention_mask=mask[None, None], position_embeddings=rotary, position_ids=places)
        logits.append(model.lm_head(language.norm(hidden)[:, -1]).float())
        ids = torch.cat([ids, logits[-1].argmax(1, keepdim=True)], 1)
    return ids, logits, gone


def _last_row(layer, hidden, rotary):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    states, attention = layer.input_layernorm(hidden), layer.self_attn
    shape = (1, hidden.shape[1], -1, attention.head_dim)
    query, key = (projected(states).view(shape).transpose(1, 2) for projected in (attention.q_proj, attention.k_proj))
    query, key = apply_rotary_pos_emb(query, key, *rotary)
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return (query[0, :, -1:] @ key[0].transpose(1, 2) * attention.scaling).softmax(-1).mean((0, 1))


def test_it_is_the_model_written_out(deep):
    model, processor = deep
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    ids, logits, gone = by_hand(model, inputs, BUDGET)
    with resprune.pruned(model, processor, keep=BUDGET, method="fastv"):
        answer = generate(model, inputs)
        result = model.resprune.last[0]
    columns = (inputs["input_ids"][0] == IMAGE).nonzero()[:, 0]
    kept = {int(columns[row * GRID + col]) for _, row, col in result.kept}
    assert kept == set(columns.tolist()) - set(gone.tolist())
    assert torch.equal(answer.sequences, ids)
    assert max((a - b).abs().max() for a, b in zip(answer.logits, logits, strict=True)) < 1e-4
    # Leaving one layer earlier or later is another model, and so is one token more.
    for other in (by_hand(model, inputs, BUDGET, k=LAYER + 1), by_hand(model, inputs, BUDGET + 1)):
        assert max((a - b).abs().max() for a, b in zip(answer.logits, other[1], strict=True)) > 1e-4


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}], ids=str)
def test_rows_of_a_batch_are_as_alone(deep, options):
    model, processor = deep
    both = prompt_inputs(processor, PROMPTS["batch with padding"])
    first = prompt_inputs(processor, [PROMPTS["batch with padding"][0]])
    with resprune.pruned(model, processor, keep=BUDGET, method="fastv"):
        generate(model, both, **options)
        kept = [sorted(result.kept) for result in model.resprune.last]
        generate(model, first, **options)
        assert sorted(model.resprune.last[0].kept) == kept[0]
    assert kept[0] != kept[1]


def test_with_and_without_a_cache_it_answers_the_same(deep):
    model, processor = deep
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    with resprune.pruned(model, processor, keep=BUDGET, method="fastv"):
        cached, again = generate(model, inputs), generate(model, inputs)
    assert difference(cached, again) == 0
    plain = generate(model, inputs)
    assert difference(cached, plain) > 1e-3


def test_with_all_tokens_no_bit_changes(deep):
    model, processor = deep
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    plain = generate(model, inputs)
    with resprune.pruned(model, processor, keep=1.0, method="fastv"):
        assert difference(generate(model, inputs), plain) == 0
        assert model.resprune.last[0].tokens_kept == TOKENS


def test_it_tells_the_average_over_layers(deep):
    model, processor = deep
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    with resprune.pruned(model, processor, keep=BUDGET, method="fastv"):
        generate(model, inputs)
        result = model.resprune.last[0]
    layers = model.config.text_config.num_hidden_layers
    assert result.average == (LAYER * TOKENS + (layers - LAYER) * BUDGET) / layers
    assert "no time is saved" in result.notes[0]


@pytest.mark.parametrize("setting", [{"mass": True}, {"protect": (1,)}, {"positions": "sequential"}], ids=str)
def test_what_has_no_place_is_refused(setting):
    with pytest.raises(InputError, match="leave inside the language model"):
        resprune.Settings(method="fastv", **setting)


def test_what_cannot_be_watched_is_refused(deep):
    model, processor = deep
    inputs = prompt_inputs(processor, PROMPTS["one image"])
    cache = DynamicCache(config=model.config.get_text_config())
    generate(model, inputs, cache=cache)
    with resprune.pruned(model, processor, keep=BUDGET, method="fastv"):
        with pytest.raises(InputError, match="cannot go on from a KV cache"):
            generate(model, inputs, cache=cache)
        with pytest.raises(InputError, match="in chunks"):
            generate(model, inputs, prefill_chunk_size=5)
    assert difference(generate(model, inputs), generate(model, inputs)) == 0
