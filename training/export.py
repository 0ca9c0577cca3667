"""Write a training checkpoint as an ordinary Hugging Face folder: ``python -m training.export --checkpoint FILE``."""

import argparse
import hashlib
from pathlib import Path

import torch
from transformers import GenerationConfig

from resprune.models import CHECKSUMS
from resprune.world import Composer
from training.optimise import publish
from training.tokenizer import build_processor
from training.train import Student


def export(student: Student, folder: Path) -> None:
    """Save weights in bf16 and their checksum, configuration, processor, tokenizer and chat template."""
    model = student.model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0, max_new_tokens=64)
    model.save_pretrained(folder)
    build_processor(student.tokenizer).save_pretrained(folder)
    name = "model.safetensors"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / CHECKSUMS).write_text(f"{digest}  {name}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("assets/bundled"))
    parser.add_argument("--sprites", type=Path, default=Path("assets/sprites"))
    args = parser.parse_args()
    student = Student(Composer(args.sprites))
    publish(torch.load(args.checkpoint, weights_only=True)["masters"], list(student.parameters()))
    export(student, args.out)


if __name__ == "__main__":
    main()
