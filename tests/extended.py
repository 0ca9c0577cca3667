"""Run by test_contributing.py where the examples of CONTRIBUTING.md have been applied: each does what it says."""

import torch
import transformers
from app.raw import figures
from PIL import Image
from tiny import IMAGE, tiny_llava

import resprune
from app.page import build
from app.registry import Registry
from app.session import Session
from resprune.layouts.base import grid
from resprune.methods import VisualTokens, parse

# A method: the first of 5 x 5 tokens is the one in the middle.
tokens = VisualTokens(torch.randn(25, 8), grid(5, 5))
assert parse("centre").select(tokens, 1).chosen.tolist() == [12]
assert parse("centre:sign=-1").select(tokens, 4).indices.tolist() == [0, 4, 20, 24]

# A family: with all tokens the answer is that of the plain model, below that some are kept.
llava, processor = tiny_llava(grid=6)
theirs = {name: value for name, value in llava.config.to_dict().items() if name in ("vision_config", "text_config")}
config = transformers.VipLlavaConfig(**theirs, image_token_index=IMAGE, vision_feature_layers=[-2, -1])
torch.manual_seed(0)
model = transformers.VipLlavaForConditionalGeneration(config).eval()
inputs = resprune.build_inputs(processor, Image.effect_noise((84, 84), 90).convert("RGB"), "What animal is it?")
asked = {**inputs, "max_new_tokens": 4, "do_sample": False}
plain = model.generate(**asked)
with resprune.pruned(model, processor, keep=1.0):
    assert model.generate(**asked).equal(plain)
with resprune.pruned(model, processor, keep=9, method="centre"):
    model.generate(**asked)
    assert len(model.resprune.last[0].kept) == 9

# A panel: the page has it, and it shows what the record says.
demo = build(Registry("bundled"))
assert "raw" in [getattr(block, "elem_id", None) for block in demo.blocks.values()]
assert figures(Session()) is None
assert figures(Session({"full": 1, "pruned": 2, "map": None})) == {"full": 1, "pruned": 2}
print("as documented")
