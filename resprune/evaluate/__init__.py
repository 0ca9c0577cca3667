"""Question sets, how many of their questions a model answers rightly, and studies that compare methods."""

from resprune.evaluate.accuracy import accuracy, normalised, wilson
from resprune.evaluate.examples import Example
from resprune.evaluate.processes import Ranks, launched
from resprune.evaluate.ray_workers import RayCrew, ray_crew
from resprune.evaluate.replies import Replies, Reply, weights_of
from resprune.evaluate.sets import SETS, QuestionFile
from resprune.evaluate.statistics import OURS, compared
from resprune.evaluate.study import FULL, Folder, Way, in_order, run, ways

__all__ = [
    "FULL",
    "OURS",
    "SETS",
    "Example",
    "Folder",
    "QuestionFile",
    "Ranks",
    "RayCrew",
    "Replies",
    "Reply",
    "Way",
    "accuracy",
    "compared",
    "in_order",
    "launched",
    "normalised",
    "ray_crew",
    "run",
    "ways",
    "weights_of",
    "wilson",
]
