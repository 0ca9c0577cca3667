"""The mathematics of a choice, which knows no model: Gram matrix, greedy subspace, mass."""

from resprune.selection.gram import gram_matrix, inner_products
from resprune.selection.greedy import greedy_from_gram, greedy_subspace, select, select_all
from resprune.selection.mass import ANY, mass_from_gram, mass_of, represented_by, succession
from resprune.selection.on_device import NO_MEMORY, DeviceSelection, select_on_device, serves
from resprune.selection.selection import Selection, checked_budget

__all__ = [
    "ANY",
    "NO_MEMORY",
    "DeviceSelection",
    "Selection",
    "checked_budget",
    "gram_matrix",
    "greedy_from_gram",
    "greedy_subspace",
    "inner_products",
    "mass_from_gram",
    "mass_of",
    "represented_by",
    "select",
    "select_all",
    "select_on_device",
    "serves",
    "succession",
]
