"""The configurations of the catalogue's checkpoints, as their authors published them: shapes only, no weights."""

import transformers as tf

CLIP_336 = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "vision_use_head": False,
}
QWEN_VISION = {"depth": 32, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2}


def text(family: str, hidden: int, mlp: int, layers: int, heads: int, kv: int, vocabulary: int, **more: object) -> dict:
    return {
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocabulary,
        **more,
    }


def llava(language: dict) -> tf.PreTrainedConfig:
    return tf.LlavaConfig(vision_config=CLIP_336, text_config=language)


def llava_next(language: dict) -> tf.PreTrainedConfig:
    return tf.LlavaNextConfig(vision_config=CLIP_336, text_config=language)


def onevision(language: dict, tied: bool) -> tf.PreTrainedConfig:
    vision = SO400M | {"num_hidden_layers": 26, "image_size": 384}
    return tf.LlavaOnevisionConfig(vision_config=vision, text_config=language, tie_word_embeddings=tied)


def qwen2_vl(language: dict) -> tf.PreTrainedConfig:
    vision = QWEN_VISION | {"embed_dim": 1280, "mlp_ratio": 4, "hidden_size": language["hidden_size"]}
    return tf.Qwen2VLConfig(vision_config=vision, text_config=language, tie_word_embeddings=True)


def qwen2_5_vl(language: dict, tied: bool) -> tf.PreTrainedConfig:
    vision = QWEN_VISION | {"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": language["hidden_size"]}
    return tf.Qwen2_5_VLConfig(vision_config=vision, text_config=language, tie_word_embeddings=tied)


def qwen3_vl(
    language: dict, depth: int, hidden: int, mlp: int, deepstack: list[int], tied: bool
) -> tf.PreTrainedConfig:
    vision = {
        "depth": depth,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": language["hidden_size"],
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": deepstack,
    }
    return tf.Qwen3VLConfig(vision_config=vision, text_config=language, tie_word_embeddings=tied)


def smolvlm(config: type, language: dict, vision: dict, scale: int) -> tf.PreTrainedConfig:
    return config(vision_config=vision, text_config=language, scale_factor=scale, tie_word_embeddings=False)


def internvl(language: dict, tied: bool = False) -> tf.PreTrainedConfig:
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "attention_bias": True,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }
    return tf.InternVLConfig(vision_config=vision, text_config=language, tie_word_embeddings=tied)


SMALL_SIGLIP = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
VICUNA_7B = text("llama", 4096, 11008, 32, 32, 32, 32064)
MISTRAL_7B = text("mistral", 4096, 14336, 32, 32, 8, 32064)

TRUE_CONFIGS = {
    "llava-hf/llava-1.5-7b-hf": lambda: llava(VICUNA_7B),
    "llava-hf/llava-1.5-13b-hf": lambda: llava(text("llama", 5120, 13824, 40, 40, 40, 32064)),
    "llava-hf/llava-v1.6-vicuna-7b-hf": lambda: llava_next(VICUNA_7B),
    "llava-hf/llava-v1.6-mistral-7b-hf": lambda: llava_next(MISTRAL_7B),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": lambda: onevision(text("qwen2", 896, 4864, 24, 14, 2, 152000), True),
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": lambda: onevision(text("qwen2", 3584, 18944, 28, 28, 4, 152128), False),
    "Qwen/Qwen2-VL-2B-Instruct": lambda: qwen2_vl(text("qwen2_vl_text", 1536, 8960, 28, 12, 2, 151936)),
    "Qwen/Qwen2.5-VL-3B-Instruct": lambda: qwen2_5_vl(text("qwen2_5_vl_text", 2048, 11008, 36, 16, 2, 151936), True),
    "Qwen/Qwen2.5-VL-7B-Instruct": lambda: qwen2_5_vl(text("qwen2_5_vl_text", 3584, 18944, 28, 28, 4, 152064), False),
    "Qwen/Qwen3-VL-2B-Instruct": lambda: qwen3_vl(
        text("qwen3_vl_text", 2048, 6144, 28, 16, 8, 151936, head_dim=128), 24, 1024, 4096, [5, 11, 17], True
    ),
    "Qwen/Qwen3-VL-4B-Instruct": lambda: qwen3_vl(
        text("qwen3_vl_text", 2560, 9728, 36, 32, 8, 151936, head_dim=128), 24, 1024, 4096, [5, 11, 17], True
    ),
    "Qwen/Qwen3-VL-8B-Instruct": lambda: qwen3_vl(
        text("qwen3_vl_text", 4096, 12288, 36, 32, 8, 151936, head_dim=128), 27, 1152, 4304, [8, 16, 24], False
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": lambda: smolvlm(
        tf.Idefics3Config, text("llama", 576, 1536, 30, 9, 3, 49280), SMALL_SIGLIP, 4
    ),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": lambda: smolvlm(
        tf.SmolVLMConfig, text("llama", 960, 2560, 32, 15, 5, 49280), SMALL_SIGLIP, 4
    ),
    "HuggingFaceM4/Idefics3-8B-Llama3": lambda: smolvlm(
        tf.Idefics3Config,
        text("llama", 4096, 14336, 32, 32, 8, 128259),
        {k: v for k, v in SO400M.items() if k not in ("model_type", "vision_use_head")} | {"image_size": 364},
        2,
    ),
    "OpenGVLab/InternVL3-1B-hf": lambda: internvl(text("qwen2", 896, 4864, 24, 14, 2, 151674)),
    "OpenGVLab/InternVL3-2B-hf": lambda: internvl(text("qwen2", 1536, 8960, 28, 12, 2, 151674)),
    "OpenGVLab/InternVL3-8B-hf": lambda: internvl(text("qwen2", 3584, 18944, 28, 28, 4, 151674)),
    "google/gemma-3-4b-it": lambda: tf.Gemma3Config(
        vision_config=SO400M | {"image_size": 896},
        text_config=text("gemma3_text", 2560, 10240, 34, 8, 4, 262208, head_dim=256),
        mm_tokens_per_image=256,
    ),
    "google/paligemma2-3b-mix-448": lambda: tf.PaliGemmaConfig(
        vision_config=SO400M | {"image_size": 448, "projection_dim": 2304},
        text_config=text("gemma2", 2304, 9216, 26, 8, 4, 257216, head_dim=256),
        projection_dim=2304,
    ),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": lambda: tf.Mistral3Config(
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 1540,
            "patch_size": 14,
        },
        text_config=text("mistral", 5120, 32768, 40, 32, 8, 131072, head_dim=128),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    ),
    "zai-org/GLM-4.1V-9B-Thinking": lambda: tf.Glm4vConfig(
        vision_config={
            "depth": 24,
            "hidden_size": 1536,
            "intermediate_size": 13696,
            "num_heads": 12,
            "image_size": 336,
            "patch_size": 14,
            "out_hidden_size": 4096,
        },
        text_config=text("glm4v_text", 4096, 13696, 40, 32, 2, 151552),
    ),
}
