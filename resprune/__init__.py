"""ResPrune: keep the visual tokens that matter, on stock Hugging Face vision-language models, without training."""

from resprune.attach import Attachment, attach, detach, encode, pruned
from resprune.errors import InputError
from resprune.layouts import boxes
from resprune.models import load
from resprune.prompt import build_inputs
from resprune.prune import PruneResult
from resprune.selection import Selection, greedy_subspace
from resprune.settings import Settings

__version__ = "0.1.0"  # stands here alone; the package, the page and its records read it

__all__ = [
    "Attachment",
    "InputError",
    "PruneResult",
    "Selection",
    "Settings",
    "__version__",
    "attach",
    "boxes",
    "build_inputs",
    "detach",
    "encode",
    "greedy_subspace",
    "load",
    "pruned",
]
