"""The checkpoints that this project knows, and what they need: figures that tests compare with the true shapes."""

from dataclasses import dataclass
from typing import Literal

Quantization = Literal["8bit", "4bit"]

# Bytes of a quantised number: 4 bits and, for every 64 of them, a scale of which a second quantisation keeps one byte.
QUANTISED_BYTES: dict[str, float] = {"8bit": 1.0, "4bit": 0.5 + 1 / 64}
CARDS_GB = (4, 6, 8, 12, 16, 24, 32, 48, 80, 141)  # memory of graphics cards that one can buy
SPARE = 1.2  # of the weights: pictures, activations, KV cache, the driver


def weight_bytes(parameters: float, quantisable: float, quantization: Quantization | None, width: int = 2) -> int:
    """Bytes of a model's weights.

    Args:
        parameters: how many there are.
        quantisable: how many of them a quantisation turns into fewer bits.
        quantization: ``"8bit"``, ``"4bit"``, or ``None``.
        width: bytes of one of the others.
    """
    if quantization is None:
        return round(parameters * width)
    return round(quantisable * QUANTISED_BYTES[quantization] + (parameters - quantisable) * width)


@dataclass(frozen=True)
class Entry:
    """A checkpoint that this project knows.

    Attributes:
        id: what a caller asks for: a Hugging Face id, or ``"bundled"``.
        family: its ``model_type``, a key of :data:`resprune.layouts.LAYOUTS`.
        description: one sentence for the user.
        licence: of its weights.
        parameters: in millions.
        quantisable: how many of them, in millions, lie in the linear layers of its language model.
        gated: whether its page asks for consent before a download.
    """

    id: str
    family: str
    description: str
    licence: str
    parameters: float
    quantisable: float
    gated: bool = False

    def weight_bytes(self, quantization: Quantization | None = None) -> int:
        """Bytes of its weights, those that are not quantised in 16 bits."""
        return weight_bytes(self.parameters * 1e6, self.quantisable * 1e6, quantization)

    def smallest_card(self, quantization: Quantization | None = None) -> int | None:
        """Gigabytes of the smallest graphics card with room for it and for its work; ``None`` if none has."""
        needed = SPARE * self.weight_bytes(quantization) / 1e9
        return next((size for size in CARDS_GB if size >= needed), None)


_LLAMA_2 = "Llama 2 Community License"
_GEMMA = "Gemma Terms of Use"
_QWEN_INSIDE = "MIT, with a language model under Apache-2.0"

CATALOGUE: dict[str, Entry] = {
    entry.id: entry
    for entry in (
        Entry("bundled", "llava", "Knows simple scenes only; small, offline, runs anywhere.", "Apache-2.0", 11.4, 5.1),
        Entry(
            "HuggingFaceTB/SmolVLM-256M-Instruct",
            "idefics3",
            "The one for a laptop: photographs, charts, documents.",
            "Apache-2.0",
            256.5,
            106.2,
        ),
        Entry(
            "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            "smolvlm",
            "A little larger, a little better.",
            "Apache-2.0",
            507.5,
            314.6,
        ),
        Entry("llava-hf/llava-1.5-7b-hf", "llava", "LLaVA-1.5: 576 visual tokens.", _LLAMA_2, 7063.4, 6476.0),
        Entry("llava-hf/llava-1.5-13b-hf", "llava", "The larger LLaVA-1.5.", _LLAMA_2, 13351.5, 12687.8),
        Entry(
            "llava-hf/llava-v1.6-mistral-7b-hf",
            "llava_next",
            "LLaVA-NeXT on Mistral: up to 2880 visual tokens.",
            "Apache-2.0",
            7566.7,
            6979.3,
        ),
        Entry("llava-hf/llava-v1.6-vicuna-7b-hf", "llava_next", "LLaVA-NeXT on Vicuna.", _LLAMA_2, 7063.4, 6476.0),
        Entry(
            "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
            "llava_onevision",
            "A small LLaVA-OneVision with thousands of visual tokens.",
            "Apache-2.0",
            893.7,
            357.8,
        ),
        Entry(
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            "llava_onevision",
            "LLaVA-OneVision.",
            "Apache-2.0",
            8030.8,
            6525.3,
        ),
        Entry("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl", "Pictures of any size.", "Apache-2.0", 2209.0, 1310.2),
        Entry(
            "Qwen/Qwen2.5-VL-3B-Instruct",
            "qwen2_5_vl",
            "Pictures of any size, documents.",
            "Qwen Research License",
            3754.6,
            2774.5,
        ),
        Entry(
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "qwen2_5_vl",
            "The larger Qwen2.5-VL.",
            "Apache-2.0",
            8292.2,
            6525.3,
        ),
        Entry("Qwen/Qwen3-VL-2B-Instruct", "qwen3_vl", "The smallest Qwen3-VL.", "Apache-2.0", 2127.5, 1409.3),
        Entry("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", "Qwen3-VL for one card.", "Apache-2.0", 4437.8, 3633.3),
        Entry("Qwen/Qwen3-VL-8B-Instruct", "qwen3_vl", "The larger Qwen3-VL.", "Apache-2.0", 8767.1, 6945.8),
        Entry("HuggingFaceM4/Idefics3-8B-Llama3", "idefics3", "Idefics3.", "Apache-2.0", 8462.1, 6979.3),
        Entry("OpenGVLab/InternVL3-1B-hf", "internvl", "The smallest InternVL3.", _QWEN_INSIDE, 938.2, 357.8),
        Entry("OpenGVLab/InternVL3-2B-hf", "internvl", "InternVL3.", _QWEN_INSIDE, 2089.0, 1310.2),
        Entry("OpenGVLab/InternVL3-8B-hf", "internvl", "The larger InternVL3.", _QWEN_INSIDE, 7944.4, 6525.3),
        Entry("google/gemma-3-4b-it", "gemma3", "Gemma 3: 256 visual tokens.", _GEMMA, 4300.1, 3208.6, gated=True),
        Entry(
            "google/paligemma2-3b-mix-448",
            "paligemma",
            "PaliGemma 2: 1024 visual tokens, short answers.",
            _GEMMA,
            3033.1,
            2024.3,
            gated=True,
        ),
        Entry(
            "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
            "mistral3",
            "Mistral Small 3.1.",
            "Apache-2.0",
            24011.4,
            22229.8,
        ),
        Entry("zai-org/GLM-4.1V-9B-Thinking", "glm4v", "Thinks before it answers.", "MIT", 10292.8, 8157.9),
    )
}
