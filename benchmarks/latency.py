"""What pruning saves at the true width of a 7B model: prefill at several budgets, selection apart.

    python -m benchmarks.latency [--layers 4] [--quantization 4bit] [--rounds 5] [--out FILE.json]

The language models have the true width and random weights, which take as long as any; as many layers as asked for, on
CUDA all of them. The budgets take turns in each round, after a warm-up of each. The limit is what a prefill could gain
at best, all tokens over those that are left, text included. Nothing else should run on the machine.
"""

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from resprune.mass import AUGMENTED, MASKED, carried, mass_of
from resprune.measure import now_ms
from resprune.memory import free_bytes
from resprune.models import default_dtype
from resprune.selection import greedy_subspace

TEXT_TOKENS = 64
IMAGE_TOKEN = 1
CPU_LAYERS = 4
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
    model = model.to_empty(device="cpu" if quantization else device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    model.model.language_model.rotary_emb = type(model.model.language_model.rotary_emb)(model.config.text_config)
    if quantization:
        quantise(model.model.language_model, quantization, model.dtype)
    return model.to(device).eval()


def quantise(module: nn.Module, quantization: str, dtype: torch.dtype) -> None:
    """Exchange the linear layers, which are quantised when they go to their device."""
    import bitsandbytes as bnb

    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            quantise(child, quantization, dtype)
            continue
        size, bias = (child.in_features, child.out_features), child.bias is not None
        if quantization == "4bit":
            new = bnb.nn.Linear4bit(*size, bias=bias, compute_dtype=dtype, quant_type="nf4")
            new.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4")
        else:
            new = bnb.nn.Linear8bitLt(*size, bias=bias, has_fp16_weights=False)
            new.weight = bnb.nn.Int8Params(child.weight.data, requires_grad=False, has_fp16_weights=False)
        new.bias = child.bias
        setattr(module, name, new)


@torch.no_grad()
def prefill(
    model: LlavaForConditionalGeneration, features: torch.Tensor, kept: torch.Tensor, mass: bool, route: str
) -> None:
    """One forward pass over the kept visual tokens, at their places, and the text."""
    total, device = len(features), features.device
    ids = torch.full((1, len(kept) + TEXT_TOKENS), 2, device=device)
    ids[:, : len(kept)] = IMAGE_TOKEN
    positions = torch.cat([kept, torch.arange(total, total + TEXT_TOKENS, device=device)])[None]
    bias = None
    if mass and len(kept) < total:
        bias = torch.zeros(ids.shape, device=device)
        bias[0, : len(kept)] = mass_of(features, kept).log()
    with carried(model, bias, route):
        model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=positions,
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=[features[kept]])},
            use_cache=True,
            logits_to_keep=1,
        )


def timed(work: Callable[[], object], device: torch.device) -> float:
    start = now_ms(device)
    work()
    return now_ms(device) - start


def measure(
    total: int, budgets: tuple[int, ...], shape: tuple, layers: int, device: torch.device, options: argparse.Namespace
) -> dict:
    """Figures of one language model; times in milliseconds, median, least and most."""
    model = build(shape, layers, device, options.quantization)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(total, shape[1], generator=generator) * torch.linspace(0, -3, shape[1]).exp()
    features = features.to(device, model.dtype)
    relevance = torch.rand(total, generator=generator).clamp_min(1e-6).to(device)
    chosen = {k: greedy_subspace(features, k, relevance).indices for k in budgets}
    everything = torch.arange(total, device=device)
    runs: dict[str, Callable[[], object]] = {
        f"prefill {total}": lambda: prefill(model, features, everything, False, MASKED)
    }
    for k, kept in chosen.items():
        runs[f"selection {k}"] = lambda k=k: greedy_subspace(features, k, relevance).indices
        runs[f"prefill {k}"] = lambda kept=kept: prefill(model, features, kept, False, MASKED)
        runs[f"prefill {k}, mass by mask"] = lambda kept=kept: prefill(model, features, kept, True, MASKED)
        runs[f"prefill {k}, mass by key"] = lambda kept=kept: prefill(model, features, kept, True, AUGMENTED)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(-1, options.rounds):  # the first is a warm-up
        for name in runs if round_ % 2 else reversed(runs):
            taken = timed(runs[name], device)
            if round_ >= 0:
                times[name].append(taken)
    figures = {n: {"median": statistics.median(t), "min": min(t), "max": max(t)} for n, t in times.items()}
    full = figures[f"prefill {total}"]["median"]
    budgets_report = {}
    for k in budgets:
        select, pruned = figures[f"selection {k}"]["median"], figures[f"prefill {k}"]["median"]
        limit = (total + TEXT_TOKENS) / (k + TEXT_TOKENS)
        budgets_report[k] = {
            "speedup": full / pruned,
            "limit": limit,
            "share_of_limit": full / pruned / limit,
            "selection_share_at_true_depth": select / (pruned * shape[3] / layers),
            "mass_by_mask_cost": figures[f"prefill {k}, mass by mask"]["median"] / pruned - 1,
            "mass_by_key_cost": figures[f"prefill {k}, mass by key"]["median"] / pruned - 1,
        }
    return {"tokens": total, "text_tokens": TEXT_TOKENS, "layers": layers, "true_layers": shape[3], "ms": figures} | {
        "budgets": budgets_report
    }


def layers_that_fit(shape: tuple, device: torch.device, dtype: torch.dtype, wanted: int | None) -> int:
    """As many as asked for, or all on an accelerator and few on the CPU, within 60 % of the free memory."""
    _, hidden, mlp, depth, heads, groups = shape
    one = (3 * mlp + 2 * hidden + 2 * hidden * groups // heads) * hidden * dtype.itemsize
    return max(1, min(wanted or (CPU_LAYERS if device.type == "cpu" else depth), int(0.6 * free_bytes(device) / one)))


def show(name: str, case: dict) -> None:
    print(
        f"\n{name}: {case['tokens']} visual tokens, {case['layers']} of {case['true_layers']} layers; median ms (range)"
    )
    for what, row in case["ms"].items():
        print(f"  {what:28} {row['median']:9.1f}  ({row['min']:.1f} to {row['max']:.1f})")
    for k, row in case["budgets"].items():
        print(
            f"  {k:5} tokens: prefill {row['speedup']:.2f} times as fast, {row['share_of_limit']:.0%} of the limit "
            f"{row['limit']:.2f}; selection {row['selection_share_at_true_depth']:.2%} of the prefill at true depth; "
            f"mass costs {row['mass_by_mask_cost']:+.1%} by the mask, {row['mass_by_key_cost']:+.1%} by the key"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, help=f"of the language model; {CPU_LAYERS} on the CPU, all elsewhere")
    parser.add_argument("--quantization", choices=["8bit", "4bit"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--out", type=Path, help="write all figures there as JSON")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = default_dtype(device)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": str(dtype),
        "quantization": options.quantization,
        "rounds": options.rounds,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cases": {},
    }
    for name in options.cases:
        total, budgets, shape = CASES[name]
        layers = layers_that_fit(shape, device, dtype, options.layers)
        report["cases"][name] = measure(total, budgets, shape, layers, device, options)
        show(name, report["cases"][name])
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
