"""The bundled model: a small LLaVA with the visual layout of LLaVA-1.5, and weights that start it well."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerBase,
)

HIDDEN = 256
POSITION = 32  # of the hidden size, how much of each patch's start says where it lies
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def configuration(vocabulary: int, image_token: int) -> LlavaConfig:
    """336 px, patch 14, 576 visual tokens, CLIP tower read at layer -2, MLP projector, Llama."""
    vision = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_hidden_layers=7,
        num_attention_heads=8,
        image_size=336,
        patch_size=14,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=vocabulary,
        max_position_embeddings=2048,
        initializer_range=0.04,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token,
        image_seq_length=576,
        projector_hidden_act="gelu",
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def build(vocabulary: int, image_token: int) -> LlavaForConditionalGeneration:
    """A new model whose patches start out looking at their neighbours, and whose words at their like.

    Attention from nothing spends most of a short training on finding out that patches lie on a grid. Here the position
    table starts as sines of several frequencies, and the queries and keys of the tower read them, each head shifted
    towards another neighbour. The patch embedding starts as the lowest frequencies of the cosine transform. It is
    only a start: every weight is trained.
    """
    model = LlavaForConditionalGeneration._from_config(
        configuration(vocabulary, image_token), attn_implementation="sdpa", dtype=torch.float32
    )
    with torch.no_grad():
        _start_tower(model.model.vision_tower)
        for layer in model.model.language_model.layers:
            query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
            torch.nn.init.orthogonal_(query)
            key.copy_(query + 0.02 * torch.randn_like(key))
    return model


@torch.no_grad()
def begin_from(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Take the weights of an earlier model of the same shape, which may have known other words.

    The embeddings of tokens that both know are taken; a plural that is new begins as its noun, anything else at random.
    """
    earlier = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    known = AutoTokenizer.from_pretrained(folder).get_vocab()
    table, before = model.get_input_embeddings().weight, earlier.get_input_embeddings().weight
    table.copy_(F.normalize(torch.randn_like(table), dim=1) * before.norm(dim=1).median())
    for token, i in tokenizer.get_vocab().items():
        singular = next((token[:-cut] for cut in (1, 2) if token.endswith("s") and token[:-cut] in known), None)
        if token in known:
            table[i] = before[known[token]]
        elif singular and len(singular) > 3:
            table[i] = before[known[singular]] + 0.3 * table[i]
    others = {n: w for n, w in earlier.state_dict().items() if "embed_tokens" not in n and "lm_head" not in n}
    missing, unknown = model.load_state_dict(others, strict=False)
    if unknown or any("embed_tokens" not in n and "lm_head" not in n for n in missing):
        raise ValueError(f"The model in {folder} is of another shape: {[*unknown, *missing][:5]}.")


def _start_tower(tower: torch.nn.Module) -> None:
    embeddings = tower.embeddings
    frequencies = torch.linspace(0.15, 2.0, POSITION // 4)
    table = embeddings.position_embedding.weight
    table.normal_(0, 0.02)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    amplitude = 1.0
    angles = torch.cat([rows.reshape(-1, 1) * frequencies, columns.reshape(-1, 1) * frequencies], 1)
    table[1:, : POSITION // 2] = amplitude * angles.cos()
    table[1:, POSITION // 2 : POSITION] = amplitude * angles.sin()
    table[0, :POSITION] = 0
    embeddings.class_embedding.zero_()
    embeddings.patch_embedding.weight.copy_(_cosines(HIDDEN - POSITION))

    heads, width = tower.config.num_attention_heads, HIDDEN // tower.config.num_attention_heads
    around = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    for depth, layer in enumerate(tower.encoder.layers):
        query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
        query.normal_(0, HIDDEN**-0.5 * 0.3)
        key.normal_(0, HIDDEN**-0.5 * 0.3)
        reach = 1 + depth // 2
        for head in range(heads):
            wide = depth >= 4 and head % 2 == 0  # these heads look over the whole neighbourhood
            down, right = (0, 0) if wide else (reach * around[head][0], reach * around[head][1])
            strength = 0.6 if wide else 1.2 + 0.1 * depth
            rows_of_head = slice(head * width, head * width + POSITION)
            key[rows_of_head, :POSITION] += strength * torch.eye(POSITION)
            query[rows_of_head, :POSITION] += strength * _shift(frequencies, down, right)


def _shift(frequencies: torch.Tensor, down: float, right: float) -> torch.Tensor:
    """``[POSITION, POSITION]``: turns the sines of a place into those of the place ``down`` and ``right`` of it."""
    turn = torch.cat([frequencies * down, frequencies * right])
    cos, sin = turn.cos().diag(), turn.sin().diag()
    return torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)])


def _cosines(count: int) -> torch.Tensor:
    """``[HIDDEN, 3, 14, 14]``: low frequencies of brightness and, half as many each, of two colour differences."""
    steps = (np.arange(14) + 0.5) * math.pi / 14
    waves = np.cos(np.arange(14)[:, None] * steps) * np.where(np.arange(14)[:, None] == 0, 1 / 14, 2 / 14) ** 0.5
    pairs = sorted(((i, j) for i in range(14) for j in range(14)), key=lambda p: p[0] ** 2 + p[1] ** 2)
    axes = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]])
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    filters = []
    for axis, share in zip(axes, (count - 2 * (count // 4), count // 4, count // 4), strict=True):
        for i, j in pairs[:share]:
            # natural pictures hold less energy at higher frequencies: the gain evens it out
            gain = 0.13 * (1 + (i * i + j * j) ** 0.5) * (1 if axis is axes[0] else 2)
            filters.append(gain * axis[:, None, None] * np.outer(waves[i], waves[j])[None])
    weight = torch.zeros(HIDDEN, 3, 14, 14)
    weight[HIDDEN - count :] = torch.tensor(np.stack(filters), dtype=torch.float32)
    return weight


def normalise(pixels: np.ndarray) -> torch.Tensor:
    """``[B, side, side, 3]`` uint8 to ``[B, 3, side, side]`` float32, as the model's image processor does."""
    return ((torch.from_numpy(pixels).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()


def window(offsets: torch.Tensor, grid: int) -> torch.Tensor:
    """``[B, grid * grid]`` raster indices of windows that begin at row and column ``offsets [B, 2]``."""
    step = torch.arange(grid)
    return ((offsets[:, :1, None] + step[:, None]) * 24 + offsets[:, 1:, None] + step).flatten(1)


def patch_features(model: LlavaForConditionalGeneration, pixels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """``[B, N, HIDDEN]`` hidden states at layer -2 without the class token, of pictures or windows of pictures.

    ``places [B, N]`` are the patches' raster indices on the full grid.
    """
    tower = model.model.vision_tower
    embeddings = tower.embeddings
    kernel = embeddings.patch_embedding.weight
    batch, _, side, _ = pixels.shape
    grid = side // 14
    cut = pixels.to(kernel.dtype).reshape(batch, 3, grid, 14, grid, 14).permute(0, 2, 4, 1, 3, 5)
    patches = cut.reshape(batch, grid * grid, -1) @ kernel.flatten(1).T + embeddings.position_embedding(places + 1)
    first = (embeddings.class_embedding + embeddings.position_embedding.weight[0]).expand(batch, 1, -1)
    hidden = tower.pre_layrnorm(torch.cat([first, patches], 1))
    for layer in tower.encoder.layers[:-1]:
        hidden = layer(hidden, None)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    return hidden[:, 1:]
