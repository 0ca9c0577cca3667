"""A LLaVA of two hundred thousand random weights, with its real processor: everything but the knowledge."""

from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

PATCH = 14
QUESTION = "What animal is in the picture?"
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
PAD, BOS, EOS, IMAGE = range(4)
CORPUS = [
    "USER: What animal is in the picture? ASSISTANT: a dog",
    "USER: How many red apples are to the left of the cat? ASSISTANT: two",
    "USER: Is there a tree on the right of the house? ASSISTANT: yes",
    "USER: Describe this picture briefly, please. ASSISTANT: a car in front of the house",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts ``<s>`` in front, pads on the left and knows LLaVA's special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def tiny_llava(
    seed: int = 0, grid: int = 24, strategy: str = "default", layers: int = 2, over: int = 0
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """A random model of the LLaVA-1.5 layout and its processor, built in about a second.

    Args:
        seed: of the weights, which are large enough that every token and every position matters to the logits.
        grid: patches along one side of an image; 24 is LLaVA-1.5's.
        strategy: ``"default"`` drops the vision tower's CLS token, ``"full"`` keeps it as a visual token.
        layers: of the language model.
        over: pixels along a side that no patch shows, after the last one.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    size = grid * PATCH + over
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": size,
            "patch_size": PATCH,
            "initializer_range": 0.3,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 384,
            "max_position_embeddings": 4096,
            "initializer_range": 0.3,
            "pad_token_id": PAD,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
        },
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy=strategy,
        image_seq_length=grid * grid,
    )
    model = LlavaForConditionalGeneration(config).eval()
    # Without an end of text, every answer has the length that was asked for.
    model.generation_config = transformers.GenerationConfig(pad_token_id=PAD, bos_token_id=BOS)
    processor = LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return model, processor


def picture(seed: int = 0, width: int = 90, height: int = 60) -> Image.Image:
    """A picture of random colours, with a gradient across so that no two patches are alike."""
    noise = np.random.default_rng(seed).integers(0, 128, (height, width, 3))
    ramp = np.linspace(0, 127, width)[None, :, None]
    return Image.fromarray((noise + ramp).astype(np.uint8))


def answer(model: Any, inputs: Any, **options: Any) -> Any:
    """What ``generate`` gives, five greedy tokens unless told otherwise."""
    return model.generate(**inputs, **({"max_new_tokens": 5, "do_sample": False} | options))
