"""Shapes of the measured models and of graphics cards, and the work that a picture and a prompt are."""

from dataclasses import dataclass

BYTES = 2  # of a bf16 number: weights, keys and values


@dataclass(frozen=True)
class Card:
    """A data sheet: dense bf16 operations a second, bytes a second, bytes."""

    peak: float
    bandwidth: float
    memory: float


CARDS = {
    "H100 SXM": Card(989e12, 3.35e12, 80e9),
    "A100 SXM 80 GB": Card(312e12, 2.039e12, 80e9),
    "L4": Card(121e12, 0.3e12, 24e9),
    "H200": Card(989e12, 4.8e12, 141e9),
}


@dataclass(frozen=True)
class Tower:
    """A vision encoder: width, width of the MLP and its matrices, layers, patches a tile, tiles.

    ``window`` is how many patches attend to each other in all layers but ``global_layers``; 0: all, everywhere.
    ``projector`` counts the multiplications of the projector for one visual token.
    """

    width: int
    mlp: int
    matrices: int
    layers: int
    patches: int
    tiles: int
    projector: int
    window: int = 0
    global_layers: int = 0


@dataclass(frozen=True)
class Model:
    """A checkpoint's shape: where it was measured, its tower, its language model, the vocabulary."""

    results: str
    tower: Tower
    width: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


CLIP = (1024, 4096, 2, 24, 577)
MODELS = {
    "LLaVA-1.5-7B": Model(
        "latency-cpu-llava-1.5", Tower(*CLIP, 1, 1024 * 4096 + 4096**2), 4096, 11008, 32, 32, 32, 32064
    ),
    "LLaVA-NeXT-7B (Mistral)": Model(
        "latency-cpu-llava-next-qwen2.5-vl", Tower(*CLIP, 5, 1024 * 4096 + 4096**2), 4096, 14336, 32, 32, 8, 32064
    ),
    "Qwen2.5-VL-7B": Model(
        "latency-cpu-llava-next-qwen2.5-vl",
        Tower(1280, 3420, 3, 32, 4 * 1296, 1, 5120**2 + 5120 * 3584, 64, 4),
        *(3584, 18944, 28, 28, 4, 152064),
    ),
}


def weights(model: Model) -> int:
    """Parameters of the language model's layers, through which every token goes."""
    head = model.width // model.heads
    attention = 2 * model.width**2 + 2 * model.width * head * model.kv_heads
    return model.layers * (attention + 3 * model.width * model.mlp)


def held_bytes(model: Model) -> int:
    """Bytes of the language model's weights, with embeddings and head."""
    return BYTES * (weights(model) + 2 * model.width * model.vocabulary)


def kv_bytes(model: Model) -> int:
    """Bytes of keys and values of one token."""
    return 2 * BYTES * model.layers * model.kv_heads * (model.width // model.heads)


def tower_weights(model: Model) -> int:
    """Parameters of the encoder's layers and of the projector."""
    t = model.tower
    return t.layers * (4 * t.width**2 + t.matrices * t.width * t.mlp) + t.projector


def encode_work(model: Model, tokens: int) -> float:
    """Operations of encoder and projector for one picture: 2 a weight and patch, 4 a pair of patches and width."""
    t = model.tower
    linear = 2 * t.layers * (4 * t.width**2 + t.matrices * t.width * t.mlp) * t.patches
    everywhere = t.global_layers if t.window else t.layers
    pairs = everywhere * t.patches**2 + (t.layers - everywhere) * t.patches * t.window
    return t.tiles * (linear + 4 * t.width * pairs) + 2 * tokens * t.projector


def prefill_work(model: Model, length: int) -> float:
    """Operations of a prompt: 2 a weight and token, 2 a pair of tokens and width (half are masked), one last row."""
    return 2 * weights(model) * length + 2 * model.layers * model.width * length**2 + 2 * model.width * model.vocabulary
