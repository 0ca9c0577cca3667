"""Point the language model's attention at the patches that a word is about.

From answers alone, a small language model takes days to find out that a question of place is answered in two steps:
find the object that is named, then look where the question says. Here the loss says where to look. Two heads of an
early layer learn to read, from each noun, the patches that show it (from the first tokens, if none does); two heads of
a later layer learn to look at the patches of the noun that is about to be said. The model that results is an ordinary
one: nothing of this is there after training.

Others learn to count. Their attention is shared out evenly: as much to each object of the noun as to the first
tokens of the text. What is left to those tells how many objects there are.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface

HEADS = 2
COUNTING_HEAD, RECOUNTING_HEAD = 2, 3
READING_LAYER, SAYING_LAYER = 1, 3
NO_NOUN = -1


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention whose mask ``[B, 1, T, L]`` speaks of the last T rows, the text; those before are causal.

    The two layers of this module leave the text's weights ``[B, H, T, L]`` with theirs.
    """
    seen = query.shape[2] - attention_mask.shape[2]
    before = F.scaled_dot_product_attention(
        query[:, :, :seen], key[:, :, :seen], value[:, :, :seen], is_causal=True, scale=scaling
    )
    text = query[:, :, seen:]
    if module.layer_idx in (READING_LAYER, SAYING_LAYER):
        module.weights = ((text * scaling) @ key.transpose(2, 3) + attention_mask).softmax(-1)
        after = module.weights @ value
    else:
        after = F.scaled_dot_product_attention(text, key, value, attn_mask=attention_mask, scale=scaling)
    return torch.cat([before, after], 2).transpose(1, 2), None


AttentionInterface.register("pointing", attend)


def pointing_loss(language_model: nn.Module, text: dict[str, torch.Tensor], shown: torch.Tensor) -> torch.Tensor:
    """How much of the attention misses its patches, in nats, over the language model's last forward pass.

    Args:
        language_model: a Llama whose attention is ``"pointing"``.
        text: as :meth:`training.batches.Prompt.pack` returns it; ``named`` and ``said`` are ``[B, T]``, what each
            token names, and what is named next.
        shown: ``[B, K, N]``, what each patch shows: a noun, a colour, a category.
    """
    return sum(
        _misses(language_model.layers[layer].self_attn.weights[:, :HEADS], text[part], shown)
        for layer, part in ((READING_LAYER, "named"), (SAYING_LAYER, "said"))
    )


def counting_loss(
    language_model: nn.Module, text: dict[str, torch.Tensor], shown: torch.Tensor, owners: torch.Tensor
) -> torch.Tensor:
    """How far the counting heads' attention is from an equal share for each object and for the text's first tokens.

    Args:
        language_model, text, shown: as of :func:`pointing_loss`.
        owners: ``[B, N]``, the number of the object that each patch shows, -1 where it shows none.
    """
    return sum(
        _uneven(language_model.layers[layer].self_attn.weights[:, head], text[part], shown, owners)
        for layer, head, part in (
            (READING_LAYER, COUNTING_HEAD, "named"),
            (SAYING_LAYER, COUNTING_HEAD, "said"),
            (SAYING_LAYER, RECOUNTING_HEAD, "named"),  # once more, from tokens that have been worked on
        )
    )


def _uneven(weights: torch.Tensor, wanted: torch.Tensor, shown: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence; ``weights [B, T, L]``, ``wanted [B, T]``."""
    length, patches = weights.shape[-1], shown.shape[2]
    prefix = length - patches - wanted.shape[1]
    scene, token = (wanted != NO_NOUN).nonzero(as_tuple=True)
    rows = weights[scene, token].float()
    hit = (shown[scene] == wanted[scene, token, None, None]).any(1)
    owner = torch.where(hit, owners[scene], owners.max() + 1)  # the last column gathers what is no object of the noun
    shares = rows.new_zeros(len(rows), int(owners.max()) + 2)
    objects = torch.zeros_like(shares).scatter_(1, owner, 1)[:, :-1]
    shares = shares.scatter_add(1, owner, rows[:, prefix : prefix + patches])[:, :-1]
    shares = torch.cat([rows[:, :prefix].sum(1, keepdim=True), shares], 1)
    target = torch.cat([torch.ones_like(objects[:, :1]), objects], 1)
    target = target / target.sum(1, keepdim=True)
    return (target * (target.clamp_min(1e-4).log() - shares.clamp_min(1e-4).log())).sum(1).mean()


def _misses(weights: torch.Tensor, wanted: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """``weights [B, HEADS, T, L]`` of the text of a sequence of prefix, patches and text; ``wanted [B, T]``."""
    length, patches = weights.shape[-1], shown.shape[2]
    prefix = length - patches - wanted.shape[1]
    scene, token = (wanted != NO_NOUN).nonzero(as_tuple=True)
    rows = weights[scene, :, token].float()
    hit = (shown[scene] == wanted[scene, token, None, None]).any(1)
    absent = ~hit.any(1, keepdim=True).expand(-1, prefix)
    columns = torch.cat([absent, hit], 1)
    looked = (rows[..., : prefix + patches] * columns[:, None]).sum(-1)
    return -looked.clamp_min(1e-4).log().mean()
