"""What every test shares: no network, one thread, small models built once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from tiny import tiny_llava

torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """A fresh (model, processor) of the LLaVA family with 6 x 6 patches an image."""
    return tiny_llava(grid=6)
