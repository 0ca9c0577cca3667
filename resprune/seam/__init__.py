"""One call of generate: encode, choose, shorten the prompt, keep positions, carry mass, remember the cache."""

from resprune.seam.arguments import signature_of
from resprune.seam.attention import States
from resprune.seam.encoding import Images, encode, joined
from resprune.seam.fastv import generate_inside
from resprune.seam.fused import Fused
from resprune.seam.masks import added, aligned, square
from resprune.seam.mass_attention import carried
from resprune.seam.request import prepare, remember
from resprune.seam.result import PruneResult

__all__ = [
    "Fused",
    "Images",
    "PruneResult",
    "States",
    "added",
    "aligned",
    "carried",
    "encode",
    "generate_inside",
    "joined",
    "prepare",
    "remember",
    "signature_of",
    "square",
]
