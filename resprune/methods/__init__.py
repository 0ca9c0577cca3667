"""Methods: ResPrune and what it is compared with, each a frozen dataclass that owns its options, and what they see."""

from resprune.methods.base import Conditioned, Method
from resprune.methods.cdpruner import CDPruner
from resprune.methods.dart import DART
from resprune.methods.divprune import DivPrune
from resprune.methods.era import ERA
from resprune.methods.fastervlm import FasterVLM
from resprune.methods.fastv import FastV
from resprune.methods.lrcp import LRCP
from resprune.methods.manual import Manual
from resprune.methods.norm import Norm
from resprune.methods.paper import Paper
from resprune.methods.random import Random
from resprune.methods.registry import available, built_in, parse, problems
from resprune.methods.relevance import MostRelevant
from resprune.methods.resprune import ResPrune
from resprune.methods.saliency import Saliency
from resprune.methods.spare import Spare
from resprune.methods.subspace import Subspace
from resprune.methods.table import described, markdown, needs_of
from resprune.methods.tokens import VisualTokens
from resprune.methods.tome import ToMe
from resprune.methods.uniform import Uniform
from resprune.methods.visionzip import VisionZip
from resprune.methods.vispruner import VisPruner

__all__ = [
    "DART",
    "ERA",
    "LRCP",
    "CDPruner",
    "Conditioned",
    "DivPrune",
    "FastV",
    "FasterVLM",
    "Manual",
    "Method",
    "MostRelevant",
    "Norm",
    "Paper",
    "Random",
    "ResPrune",
    "Saliency",
    "Spare",
    "Subspace",
    "ToMe",
    "Uniform",
    "VisPruner",
    "VisionZip",
    "VisualTokens",
    "available",
    "built_in",
    "described",
    "markdown",
    "needs_of",
    "parse",
    "problems",
]
