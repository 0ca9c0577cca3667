"""Checkpoints: which there are, where their files are, whether they fit, and how to load one."""

from resprune.models.catalogue import CATALOGUE, QUANTISED_BYTES, Entry, Quantization
from resprune.models.hub import CHECKSUMS, assets_dir, check_known, locate
from resprune.models.loading import load, unload

__all__ = [
    "CATALOGUE",
    "CHECKSUMS",
    "QUANTISED_BYTES",
    "Entry",
    "Quantization",
    "assets_dir",
    "check_known",
    "load",
    "locate",
    "unload",
]
