"""What pruning saves at the true width of a 7B model: prefill and one step of decoding, selection and mass apart.

    python -m benchmarks.latency [--layers 8] [--quantization 4bit] [--rounds 5] [--cases NAME ...] [--out FILE.json]

The language models have the true width and random weights, which take as long as any; as many layers as memory allows,
or as are asked for. The budgets take turns in each round, after a warm-up of each. The limit is what a prefill could
gain at best, all tokens over those that are left, text included. Nothing else should run on the machine; where
something must, OMP_NUM_THREADS=1 with --cpu-time measures what the processor worked, which others hardly stretch.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Cache, LlavaConfig, LlavaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from benchmarks.machine import machine, write
from resprune.device import PeakMemory, default_dtype, free_bytes, now_ms
from resprune.models import QUANTISED_BYTES
from resprune.seam import carried
from resprune.selection import gram_matrix, greedy_subspace, mass_from_gram

TEXT_TOKENS = 64
IMAGE_TOKEN = 1
MASS = {"": False, ", mass": True}
ROOM = 0.7  # share of the free memory that the weights may take
# Visual tokens, budgets, and the language model's shape.
CASES = {
    "LLaVA-1.5-7B": (576, (192, 128, 64), ("llama", 4096, 11008, 32, 32, 32)),
    "LLaVA-NeXT-7B (Mistral)": (2880, (960, 640, 320), ("mistral", 4096, 14336, 32, 32, 8)),
    "Qwen2.5-VL-7B": (1296, (432, 288, 144), ("qwen2", 3584, 18944, 28, 28, 4)),
}


def build(shape: tuple, layers: int, device: torch.device, quantization: str | None) -> LlavaForConditionalGeneration:
    """A model with the shape's language model, random weights, and hardly a vision tower."""
    family, hidden, mlp, _, heads, groups = shape
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **vision, "image_size": 28, "patch_size": 14},
        text_config={
            "model_type": family,
            "hidden_size": hidden,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "vocab_size": 1024,
        },
        image_token_index=IMAGE_TOKEN,
    )
    with torch.device("meta"):
        model = LlavaForConditionalGeneration._from_config(config, dtype=default_dtype(device))
    decoder = model.get_decoder()
    blocks, decoder.layers = decoder.layers, nn.ModuleList()
    fill(model.to_empty(device=device))
    decoder.rotary_emb = type(decoder.rotary_emb)(model.config.text_config).to(device)
    for block in blocks:  # one at a time, so that quantising needs room for one in full
        fill(block.to_empty(device=device))
        if quantization:
            quantise(block, quantization, model.dtype)
        decoder.layers.append(block.to(device))
    return model.eval()


@torch.no_grad()
def fill(module: nn.Module) -> None:
    """Random matrices, norms of 1."""
    for parameter in module.parameters():
        parameter.normal_(0, 0.02) if parameter.ndim > 1 else parameter.fill_(1)


def quantise(module: nn.Module, quantization: str, dtype: torch.dtype) -> None:
    """Exchange the linear layers; bitsandbytes quantises them on their way from the host to their device."""
    import bitsandbytes as bnb

    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            quantise(child, quantization, dtype)
            continue
        size, bias, weight = (child.in_features, child.out_features), child.bias is not None, child.weight.data.cpu()
        if quantization == "4bit":
            new = bnb.nn.Linear4bit(*size, bias=bias, compute_dtype=dtype, quant_type="nf4", device="meta")
            new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        else:
            new = bnb.nn.Linear8bitLt(*size, bias=bias, has_fp16_weights=False, device="meta")
            new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        new.bias = child.bias
        setattr(module, name, new)


class Prompt:
    """The kept visual tokens of one picture, at their places, and some text; with mass, or without."""

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        features: torch.Tensor,
        gram: np.ndarray,
        kept: torch.Tensor,
        mass: bool = False,
    ) -> None:
        self.model, self.features, self.gram, self.kept, self.mass = model, features, gram, kept, mass
        self.cache: Cache | None = None
        self.bias: torch.Tensor | None = None
        device = features.device
        self.ids = torch.full((1, len(kept) + TEXT_TOKENS), 2, device=device)
        self.ids[:, : len(kept)] = IMAGE_TOKEN
        after = torch.arange(len(features), len(features) + TEXT_TOKENS + 1, device=device)
        self.positions = torch.cat([kept, after])[None]

    @torch.no_grad()
    def prefill(self) -> None:
        """One forward pass, and the mass of each token before it."""
        self.cache = None
        if self.mass:
            self.bias = torch.zeros(self.ids.shape)
            self.bias[0, : len(self.kept)] = mass_from_gram(self.gram, self.kept).log()
        self.cache = self._forward(
            input_ids=self.ids,
            attention_mask=torch.ones_like(self.ids),
            position_ids=self.positions[:, :-1],
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=[self.features[self.kept]])},
        )

    @torch.no_grad()
    def step(self) -> None:
        """One more token after :meth:`prefill`, as often as wanted."""
        length = self.cache.get_seq_length()
        self._forward(
            input_ids=self.ids[:, -1:],
            attention_mask=self.ids.new_ones(1, length + 1),
            position_ids=self.positions[:, -1:],
            cache=self.cache,
        )
        self.cache.crop(-1)

    def extra_bytes(self) -> int | None:
        """Peak memory of :meth:`prefill` above what is held at its start."""
        self.cache, device = None, self.features.device
        held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        with PeakMemory(device) as memory:
            self.prefill()
        self.cache = None
        return None if memory.bytes is None else memory.bytes - held

    def _forward(self, **inputs: Any) -> Cache:
        with carried(self.model, self.bias):
            return self.model(**inputs, use_cache=True, logits_to_keep=1).cache


def timed(work: Callable[[], object], device: torch.device, cpu_time: bool) -> float:
    start = (time.process_time() * 1e3) if cpu_time else now_ms(device)
    work()
    return (time.process_time() * 1e3 if cpu_time else now_ms(device)) - start


def measure(
    total: int, budgets: tuple[int, ...], shape: tuple, layers: int, device: torch.device, options: argparse.Namespace
) -> dict:
    """Figures of one language model; times in milliseconds, median, least and most."""
    model = build(shape, layers, device, options.quantization)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(total, shape[1], generator=generator) * torch.linspace(0, -3, shape[1]).exp()
    features = features.to(device, model.dtype)
    relevance = torch.rand(total, generator=generator).clamp_min(1e-6).to(device)
    gram, everything = gram_matrix(features), torch.arange(total, device=device)
    prompts = {str(total): Prompt(model, features, gram, everything)}
    runs: dict[str, Callable[[], object]] = {}
    for k in budgets:
        runs[f"selection {k}"] = lambda k=k: greedy_subspace(features, k, relevance).indices
        kept = runs[f"selection {k}"]()
        for name, mass in MASS.items():
            prompts[f"{k}{name}"] = Prompt(model, features, gram, kept, mass)
    runs |= {f"prefill {name}": prompt.prefill for name, prompt in prompts.items()}
    runs |= {f"step after {name}": prompt.step for name, prompt in prompts.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(-1, options.rounds):  # the first is a warm-up
        for name in runs if round_ % 2 else reversed(runs):
            taken = timed(runs[name], device, options.cpu_time)
            if round_ >= 0:
                times[name].append(taken)
    return {
        "tokens": total,
        "text_tokens": TEXT_TOKENS,
        "layers": layers,
        "true_layers": shape[3],
        "ms": {n: {"median": statistics.median(t), "min": min(t), "max": max(t)} for n, t in times.items()},
        "extra_bytes": {f"prefill {name}": prompt.extra_bytes() for name, prompt in prompts.items()},
        "budgets": {k: ratios(total, k, times, shape[3] / layers) for k in budgets},
    }


def ratios(total: int, k: int, times: dict[str, list[float]], depth: float) -> dict[str, float]:
    """What a budget gains, from the least time of each: whatever else runs on a machine only adds to one.

    ``depth`` is how many times as deep the true model is: its prefill takes as many times as long, selection does not.
    """

    def over(name: str, other: str) -> float:
        return min(times[name]) / min(times[other])

    pruned, limit = f"prefill {k}", (total + TEXT_TOKENS) / (k + TEXT_TOKENS)
    speedup = over(f"prefill {total}", pruned)
    mass = {f"mass_cost_of_{what}": over(f"{what} {k}, mass", f"{what} {k}") - 1 for what in ("prefill", "step after")}
    return {
        "speedup": speedup,
        "limit": limit,
        "share_of_limit": speedup / limit,
        "selection_share_at_true_depth": over(f"selection {k}", pruned) / depth,
        **{name.replace(" after", ""): cost for name, cost in mass.items()},
    }


def layers_that_fit(shape: tuple, device: torch.device, quantization: str | None, wanted: int | None) -> int:
    """As many as asked for, or all, as far as memory allows."""
    _, hidden, mlp, depth, heads, groups = shape
    width = QUANTISED_BYTES[quantization] if quantization else default_dtype(device).itemsize
    one = (3 * mlp + 2 * hidden + 2 * hidden * groups // heads) * hidden * width
    return max(1, min(wanted or depth, depth, int(ROOM * free_bytes(device) / one)))


def show(name: str, case: dict) -> None:
    print(
        f"\n{name}: {case['tokens']} visual tokens, {case['layers']} of {case['true_layers']} layers; median ms "
        "(range), memory above the weights"
    )
    for what, row in case["ms"].items():
        extra = case["extra_bytes"].get(what)
        print(
            f"  {what:28} {row['median']:9.1f}  ({row['min']:.1f} to {row['max']:.1f})"
            + (f"  {extra / 1e6:.0f} MB" if extra else "")
        )
    for k, row in case["budgets"].items():
        print(
            f"  {k:5} tokens: prefill {row['speedup']:.2f} times as fast, {row['share_of_limit']:.0%} of the limit "
            f"{row['limit']:.2f}; selection {row['selection_share_at_true_depth']:.2%} of the prefill at true depth; "
            f"mass costs {row['mass_cost_of_prefill']:+.1%} of it, and {row['mass_cost_of_step']:+.1%} of a step of "
            "decoding"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, help="of the language model; as many as memory allows where not given")
    parser.add_argument("--quantization", choices=list(QUANTISED_BYTES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="of the process, on the CPU with one thread")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--out", type=Path, help="write all figures there as JSON")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report = machine(device) | {
        "dtype": str(default_dtype(device)),
        "quantization": options.quantization,
        "rounds": options.rounds,
        "clock": "processor time" if options.cpu_time else "wall time",
        "cases": {},
    }
    for name in options.cases:
        total, budgets, shape = CASES[name]
        layers = layers_that_fit(shape, device, options.quantization, options.layers)
        report["cases"][name] = measure(total, budgets, shape, layers, device, options)
        show(name, report["cases"][name])
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if options.out:
            write(options.out, report)


if __name__ == "__main__":
    sys.exit(main())
