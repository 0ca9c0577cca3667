"""Models of the true size with random weights, which take as long as any, and processors that read real pictures.

Shapes are those of the checkpoints' ``config.json``: llava-hf/llava-1.5-7b-hf, llava-hf/llava-v1.6-mistral-7b-hf and
Qwen/Qwen2.5-VL-7B-Instruct. The tokenizer is the bundled model's, so that nothing is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers as tf
from PIL import Image
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from resprune import build_inputs
from resprune.models import assets_dir

QUESTION = "What animal is in the picture, and what is to the left of the red car?"
WORDS = 32064  # of LLaVA's vocabulary; filling Qwen's takes a processor most of a minute
QWEN_TOKENS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@dataclass(frozen=True)
class Sizes:
    """What a checkpoint's configuration says of its size.

    Attributes:
        picture: width and height of the picture asked about, in pixels.
        tokens: visual tokens that it becomes.
        budgets: those of the paper, as :func:`resprune.attach` takes them.
        vision: of the vision encoder; ``layers`` is how many it has.
        text: of the language model.
        layers, text_layers: of each.
        make: configuration, processor and class from all that.
    """

    picture: tuple[int, int]
    tokens: int
    budgets: tuple[int | float, ...]
    vision: dict[str, Any]
    text: dict[str, Any]
    layers: int
    text_layers: int
    make: Callable[["Sizes", PreTrainedTokenizerBase], tuple[PretrainedConfig, ProcessorMixin, type[PreTrainedModel]]]

    def shallow(self, layers: int | None) -> "Sizes":
        """At most ``layers`` of the language model, of the encoder in proportion but two, and fewer words to fill."""
        if layers is None or layers >= self.text_layers:
            return self
        text = {**self.text, "vocab_size": min(self.text["vocab_size"], WORDS)}
        return replace(self, layers=max(2, self.layers * layers // self.text_layers), text_layers=layers, text=text)


def _text(sizes: Sizes) -> dict[str, Any]:
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return {"max_position_embeddings": 8192, "num_hidden_layers": sizes.text_layers, **special, **sizes.text}


def _llava(sizes: Sizes, tokenizer: PreTrainedTokenizerBase) -> tuple:
    config = tf.LlavaConfig(
        vision_config={**sizes.vision, "num_hidden_layers": sizes.layers},
        text_config=_text(sizes),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=sizes.tokens,
    )
    return config, tf.AutoProcessor.from_pretrained(assets_dir() / "bundled"), tf.LlavaForConditionalGeneration


def _llava_next(sizes: Sizes, tokenizer: PreTrainedTokenizerBase) -> tuple:
    images = tf.LlavaNextImageProcessor(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, resample=Image.Resampling.BICUBIC
    )
    processor = tf.LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    config = tf.LlavaNextConfig(
        vision_config={**sizes.vision, "num_hidden_layers": sizes.layers},
        text_config=_text(sizes),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=images.image_grid_pinpoints,
    )
    return config, processor, tf.LlavaNextForConditionalGeneration


def _qwen(sizes: Sizes, tokenizer: PreTrainedTokenizerBase) -> tuple:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", *QWEN_TOKENS.values()]})
    every = max(1, sizes.layers // 4)  # each fourth part ends with a layer in which all patches see each other
    config = tf.Qwen2_5_VLConfig(
        vision_config={
            **sizes.vision,
            "depth": sizes.layers,
            "fullatt_block_indexes": list(range(every - 1, sizes.layers, every)),
        },
        text_config=_text(sizes),
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in QWEN_TOKENS.items()},
    )
    limits = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * sizes.tokens}
    images = tf.Qwen2VLImageProcessor(patch_size=14, merge_size=2, temporal_patch_size=2, size=limits)
    processor = tf.Qwen2_5_VLProcessor(images, tokenizer, tf.Qwen2VLVideoProcessor(), chat_template=QWEN_TEMPLATE)
    return config, processor, tf.Qwen2_5_VLForConditionalGeneration


_CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
_VICUNA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
}
_QWEN_TOWER = {
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "window_size": 112,
    "out_hidden_size": 3584,
}
_QWEN_TEXT = {
    "model_type": "qwen2_5_vl_text",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
_MISTRAL = {**_VICUNA, "model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8}
MODELS = {
    "LLaVA-1.5-7B": Sizes((640, 480), 576, (192, 128, 64), _CLIP, _VICUNA, 24, 32, _llava),
    "LLaVA-NeXT-7B": Sizes(
        (1000, 1000), 2880, (640, 320, 160), _CLIP, {**_MISTRAL, "sliding_window": None}, 24, 32, _llava_next
    ),
    "Qwen2.5-VL-7B": Sizes((1008, 1008), 1296, (0.222, 0.111), _QWEN_TOWER, _QWEN_TEXT, 32, 28, _qwen),
}


def build(sizes: Sizes, device: torch.device, dtype: torch.dtype) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model on ``device`` that never ends an answer by itself, and its processor."""
    tokenizer = tf.AutoTokenizer.from_pretrained(assets_dir() / "bundled", model_max_length=8192)
    config, processor, kind = sizes.make(sizes, tokenizer)
    with torch.device("meta"):
        model = kind._from_config(config, dtype=dtype)
    torch.manual_seed(0)
    model.to_empty(device=device)
    model.initialize_weights()  # also the buffers that no checkpoint has
    model.generation_config = tf.GenerationConfig(pad_token_id=0, bos_token_id=1)
    return model.eval(), processor


def ask_about(
    sizes: Sizes, processor: ProcessorMixin, batch: int, device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """What ``generate`` needs for the same question about ``batch`` pictures of noise."""
    noise = np.random.default_rng(0)
    width, height = sizes.picture
    asked = []
    for _ in range(batch):
        picture = Image.fromarray(noise.integers(0, 255, (height, width, 3), dtype=np.uint8))
        asked.append(build_inputs(processor, picture, QUESTION).to(device, dtype=dtype))
    return {name: torch.cat([one[name] for one in asked]) for name in asked[0]}
