"""One small model of random weights for every family, with its real processor: everything but the knowledge."""

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import chat_templates
import torch
import transformers as tf
from tiny import CORPUS, tiny_llava
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HIDDEN, TILE, PATCH, VOCABULARY = 64, 32, 8, 480
LARGE_VIEWS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
BASIC = ["<pad>", "<s>", "</s>", "<unk>"]
SPECIAL = [
    *("<image>", "<video>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>", "[INST]", "[/INST]"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    *("<fake_token_around_image>", "<global-img>", "<img>", "</img>", "<IMG_CONTEXT>"),
    *("<start_of_image>", "<end_of_image>", "<image_soft_token>", "<start_of_turn>", "<end_of_turn>"),
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[gMASK]", "<sop>"),
    *("<|user|>", "<|assistant|>", "<|system|>", "<|image|>", "<|begin_of_image|>", "<|end_of_image|>"),
    *("<|video|>", "<|begin_of_video|>", "<|end_of_video|>"),
    *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
]


VIDEOS = ("<video>", "<|video|>", "<|video_pad|>")
NAMES_OF_TILES = tuple(token for token in SPECIAL if token.startswith(("<row_", "<global")))


@cache
def _trained(lacking: tuple[str, ...] = ()) -> Tokenizer:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [token for token in (*BASIC, *SPECIAL) if token not in lacking]
    tokens = {"special_tokens": special, "initial_alphabet": alphabet}
    bpe.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False, **tokens))
    return bpe


def tokenizer(lacking: tuple[str, ...] = (), **named: str) -> tf.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows the special tokens of all families, some of them by a name.

    Those it is ``lacking`` are ordinary text to it, unless a name makes one a token: then it follows all others.
    """
    basic = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), BASIC, strict=True))
    fast = tf.PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(_trained(lacking)), padding_side="left", extra_special_tokens=named, **basic
    )
    known = [token for token in SPECIAL if token not in (*named.values(), *lacking)]
    fast.add_special_tokens({"additional_special_tokens": known})
    return fast


@cache
def _spelled() -> Tokenizer:
    """Pieces in the manner of SentencePiece: a space is ▁, one stands in front, and what has no piece is bytes."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = [*BASIC, "<image>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [tuple(merge) for merge in model["merges"]]
    bpe = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    bpe.decoder = decoders.Sequence(steps)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return bpe


def spelling_tokenizer() -> tf.PreTrainedTokenizerFast:
    """One in the manner of Llama 2 and of Mistral's first: byte fallback, a space in front, ``[INST]`` mere text."""
    basic = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), BASIC, strict=True))
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=copy.deepcopy(_spelled()), padding_side="left", **basic)
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return fast


def _id(token: str, lacking: tuple[str, ...] = ()) -> int:
    return _trained(lacking).token_to_id(token)


def _text(kind: str = "llama", **more: Any) -> dict[str, Any]:
    """A language model whose weights are large enough that every token and every position matters to the logits."""
    return {
        "model_type": kind,
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
        **dict(zip(("pad_token_id", "bos_token_id", "eos_token_id"), range(3), strict=True)),
        **more,
    }


def _mrope(kind: str, **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    return _text(kind, rope_parameters=rope | more, head_dim=16)


def _vision(kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        **({"model_type": kind} if kind else {}),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TILE,
        "patch_size": PATCH,
        "initializer_range": 0.3,
        **more,
    }


def _square(side: int = TILE) -> dict[str, int]:
    return {"height": side, "width": side}


def _llava_next(words: tf.PreTrainedTokenizerFast | None = None, template: str = chat_templates.LLAVA_NEXT) -> tuple:
    words = words or tokenizer()
    config = tf.LlavaNextConfig(
        vision_config=_vision("clip_vision_model", num_hidden_layers=3),
        text_config=_text(vocab_size=max(VOCABULARY, len(words))),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=LARGE_VIEWS,
        image_seq_length=16,
    )
    images = tf.LlavaNextImageProcessor(
        size={"shortest_edge": TILE}, crop_size=_square(), image_grid_pinpoints=LARGE_VIEWS
    )
    options = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = tf.LlavaNextProcessor(images, words, chat_template=template, **options)
    return tf.LlavaNextForConditionalGeneration(config), processor


def _llava_onevision(most: int = 9) -> tuple:
    ratio = f"anyres_max_{most}"
    config = tf.LlavaOnevisionConfig(
        vision_config=_vision("siglip_vision_model"),
        text_config=_text("qwen2"),
        image_token_index=_id("<image>"),
        video_token_index=_id("<video>"),
        image_grid_pinpoints=LARGE_VIEWS,
        vision_aspect_ratio=ratio,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    processor = tf.LlavaOnevisionProcessor(
        tf.LlavaOnevisionImageProcessor(size=_square(), image_grid_pinpoints=LARGE_VIEWS),
        tokenizer(),
        tf.LlavaOnevisionVideoProcessor(size=_square()),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=ratio,
        chat_template=chat_templates.ONEVISION,
    )
    return tf.LlavaOnevisionForConditionalGeneration(config), processor


def _qwen(name: str, text: dict[str, Any], vision: dict[str, Any]) -> tuple:
    tokens = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ids = dict(zip(tokens, map(_id, names), strict=True))
    vision |= {"depth": 3, "num_heads": 2, "patch_size": PATCH, "initializer_range": 0.3}
    config = getattr(tf, f"{name}Config")(text_config=text, vision_config=vision, **ids)
    pixels = {"shortest_edge": 16 * 16, "longest_edge": 96 * 96}
    sizes = {"patch_size": PATCH, "merge_size": 2, "temporal_patch_size": 2, "size": pixels}
    processor = getattr(tf, f"{name}Processor")(
        tf.Qwen2VLImageProcessor(**sizes),
        tokenizer(),
        tf.Qwen2VLVideoProcessor(**sizes),
        chat_template=chat_templates.QWEN,
    )
    return getattr(tf, f"{name}ForConditionalGeneration")(config), processor


def _qwen2_vl() -> tuple:
    return _qwen("Qwen2VL", _mrope("qwen2_vl_text"), {"embed_dim": 32, "hidden_size": HIDDEN, "mlp_ratio": 2})


def _qwen2_5_vl() -> tuple:
    windows = {"window_size": 32, "fullatt_block_indexes": [1], "out_hidden_size": HIDDEN}
    vision = {"hidden_size": 32, "intermediate_size": 64, **windows}
    return _qwen("Qwen2_5_VL", _mrope("qwen2_5_vl_text"), vision)


def _qwen3_vl() -> tuple:
    deepstack = {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1], "out_hidden_size": HIDDEN}
    vision = {"hidden_size": 32, "intermediate_size": 64, **deepstack}
    return _qwen("Qwen3VL", _mrope("qwen3_vl_text", mrope_interleaved=True), vision)


def _glm4v() -> tuple:
    kinds = ("image", "video", "image_start", "image_end", "video_start", "video_end")
    names = ("image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video")
    ids = {f"{kind}_token_id": _id(f"<|{name}|>") for kind, name in zip(kinds, names, strict=True)}
    vision = {"depth": 2, "num_heads": 2, "out_hidden_size": HIDDEN, "spatial_merge_size": 2, "image_size": 64}
    config = tf.Glm4vConfig(
        text_config=_mrope("glm4v_text", partial_rotary_factor=1.0), vision_config=_vision() | vision, **ids
    )
    pixels = {"shortest_edge": 2 * 16 * 16, "longest_edge": 2 * 96 * 96}
    sizes = {"patch_size": PATCH, "merge_size": 2, "temporal_patch_size": 2, "size": pixels}
    images, videos = tf.Glm4vImageProcessor(**sizes), tf.Glm4vVideoProcessor(**sizes)
    processor = tf.Glm4vProcessor(images, tokenizer(), videos, chat_template=chat_templates.GLM)
    return tf.Glm4vForConditionalGeneration(config), processor


def _llava_next_spelled() -> tuple:
    """A Mistral that spells what it does not know in bytes, and whose template's ``<\\s>`` is no end of text."""
    return _llava_next(spelling_tokenizer(), chat_templates.LLAVA_NEXT_MISTRAL)


def _internvl(lacking: tuple[str, ...] = ()) -> tuple:
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    words = tokenizer(lacking, video_token="<video>", **names)
    config = tf.InternVLConfig(
        vision_config=_vision(image_size=[TILE, TILE], patch_size=[PATCH, PATCH]),
        text_config=_text("qwen2", vocab_size=len(words) - 1 if lacking else VOCABULARY),
        image_token_id=_id("<IMG_CONTEXT>", lacking),
        downsample_ratio=0.5,
        image_seq_length=4,
    )
    processor = tf.InternVLProcessor(
        tf.GotOcr2ImageProcessor(size=_square(), crop_to_patches=True, min_patches=1, max_patches=6),
        words,
        tf.InternVLVideoProcessor(size=_square()),
        image_seq_length=4,
        chat_template=chat_templates.INTERNVL,
    )
    return tf.InternVLForConditionalGeneration(config), processor


def _idefics(name: str, lacking: tuple[str, ...] = ()) -> tuple:
    config = getattr(tf, f"{name}Config")(
        vision_config=_vision(), text_config=_text(), image_token_id=_id("<image>", lacking), scale_factor=2
    )
    sizes = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": TILE}}
    parts = [getattr(tf, f"{name}ImageProcessor")(**sizes), tokenizer(lacking)]
    if name == "SmolVLM":
        parts.append(tf.SmolVLMVideoProcessor(**sizes, video_sampling={"fps": 1, "max_frames": 4}))
    processor = getattr(tf, f"{name}Processor")(*parts, image_seq_len=4, chat_template=chat_templates.IDEFICS)
    return getattr(tf, f"{name}ForConditionalGeneration")(config), processor


def _gemma3() -> tuple:
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 512}
    config = tf.Gemma3Config(
        vision_config=_vision("siglip_vision_model", image_size=2 * TILE),
        text_config=_text("gemma3_text", head_dim=16, query_pre_attn_scalar=16, **layers),
        mm_tokens_per_image=16,
        image_token_index=_id("<image_soft_token>"),
        boi_token_index=_id("<start_of_image>"),
        eoi_token_index=_id("<end_of_image>"),
    )
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    images = tf.Gemma3ImageProcessor(size=_square(2 * TILE), image_seq_length=16)
    words = tokenizer(**names)
    words.add_tokens([AddedToken("\n", normalized=False)])  # a word to it, though no special one
    processor = tf.Gemma3Processor(images, words, image_seq_length=16, chat_template=chat_templates.GEMMA)
    model = tf.Gemma3ForConditionalGeneration(config)
    # Left to transformers it would be zero, and all images the same.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.3)
    return model, processor


def _paligemma(text: dict[str, Any] | None = None) -> tuple:
    locations = 1152  # tokens for places in a picture, which the processor adds
    config = tf.PaliGemmaConfig(
        vision_config=_vision("siglip_vision_model", projection_dim=HIDDEN),
        text_config=(text or _text("gemma", head_dim=16)) | {"vocab_size": VOCABULARY + locations},
        image_token_index=_id("<image>"),
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
    )
    images = tf.SiglipImageProcessor(size=_square())
    images.image_seq_length = 16
    return tf.PaliGemmaForConditionalGeneration(config), tf.PaliGemmaProcessor(images, tokenizer(image_token="<image>"))


def _paligemma2() -> tuple:
    """Its language model is Gemma 2: windows narrower than any prompt here, logits capped low enough to matter."""
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 20}
    caps = {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16}
    return _paligemma(_text("gemma2", head_dim=16, **layers, **caps))


def _mistral3() -> tuple:
    config = tf.Mistral3Config(
        vision_config=_vision("pixtral", image_size=64),
        text_config=_text("mistral", head_dim=16, sliding_window=None),
        image_token_index=_id("[IMG]"),
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )
    images = tf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size=_square(PATCH))
    processor = tf.PixtralProcessor(
        images, tokenizer(), patch_size=PATCH, spatial_merge_size=2, chat_template=chat_templates.MISTRAL
    )
    return tf.Mistral3ForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple]] = {
    "llava": lambda: tiny_llava(grid=4),
    "llava_next": _llava_next,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "llava_onevision": _llava_onevision,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "paligemma2": _paligemma2,
    "idefics3": lambda: _idefics("Idefics3"),
    "smolvlm": lambda: _idefics("SmolVLM"),
    "mistral3": _mistral3,
    "glm4v": _glm4v,
    "idefics3_plain": lambda: _idefics("Idefics3", NAMES_OF_TILES),
    "internvl_surplus": lambda: _internvl(VIDEOS),
    "llava_next_spelled": _llava_next_spelled,
}
"""By name: the families, and after them those whose tokenizers are as some checkpoints have them.

In ``idefics3_plain`` the names of tiles are text, as in Idefics3-8B; ``internvl_surplus`` has one token more than its
embedding has rows, as InternVL3; ``llava_next_spelled`` has a vocabulary with byte fallback, as LLaVA-NeXT on Mistral.
"""


def tiny(family: str, seed: int = 0, **options: Any) -> tuple[tf.PreTrainedModel, tf.ProcessorMixin]:
    """A fresh model that never ends its text, and its processor."""
    torch.manual_seed(seed)
    model, processor = FAMILIES[family](**options)
    ends = {"pad_token_id": 0, "bos_token_id": 1}
    model.generation_config = tf.GenerationConfig(**ends)
    return model.eval(), processor
