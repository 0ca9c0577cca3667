"""ResPrune: keep the visual tokens that matter, on stock Hugging Face vision-language models, without training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resprune import compare, methods
    from resprune.attachment import Attachment, attach, detach, pruned
    from resprune.errors import InputError
    from resprune.layouts import boxes
    from resprune.methods import ResPrune
    from resprune.models import load
    from resprune.question import build_inputs
    from resprune.seam import PruneResult, encode
    from resprune.selection import Selection, greedy_subspace
    from resprune.settings import Mass, Settings

__version__ = "0.2.0"  # stands here alone; the package, the page and its records read it

__all__ = [
    "Attachment",
    "InputError",
    "Mass",
    "PruneResult",
    "ResPrune",
    "Selection",
    "Settings",
    "__version__",
    "attach",
    "boxes",
    "build_inputs",
    "compare",
    "detach",
    "encode",
    "greedy_subspace",
    "load",
    "methods",
    "pruned",
]

# Where each name is, imported when it is first asked for: the page and the command line are up before PyTorch is read.
# No file is called like a function, since a submodule that is imported takes its name in the package.
_HOMES = {
    "attachment": ("Attachment", "attach", "detach", "pruned"),
    "errors": ("InputError",),
    "layouts": ("boxes",),
    "methods": ("ResPrune",),
    "models": ("load",),
    "question": ("build_inputs",),
    "seam": ("PruneResult", "encode"),
    "selection": ("Selection", "greedy_subspace"),
    "settings": ("Mass", "Settings"),
}


def __getattr__(name: str) -> Any:
    if name in ("compare", "methods"):  # rooms
        return import_module(f"{__name__}.{name}")
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = found = getattr(import_module(f"{__name__}.{home}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
