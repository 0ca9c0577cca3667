"""The commands of ``python -m resprune``, each added to its parser."""

from resprune.commands.answer import add_answer, add_compare
from resprune.commands.evaluate import add_evaluate
from resprune.commands.lists import add_methods, add_models
from resprune.commands.options import take_method_options
from resprune.commands.serve import add_serve

__all__ = [
    "add_answer",
    "add_compare",
    "add_evaluate",
    "add_methods",
    "add_models",
    "add_serve",
    "take_method_options",
]
