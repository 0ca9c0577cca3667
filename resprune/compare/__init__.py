"""One picture, one question, two answers: what each says, what it costs, and where they part."""

from resprune.compare.answers import Answer, Side, Stage, Update
from resprune.compare.comparison import answer, compare
from resprune.compare.differences import TokenChange, differences
from resprune.compare.encoded import EncodedQuestion
from resprune.compare.generation import Generation, ends_of
from resprune.compare.sweep import Trial, plan, sweep
from resprune.compare.text import complete
from resprune.compare.together import Asked, answer_together

__all__ = [
    "Answer",
    "Asked",
    "EncodedQuestion",
    "Generation",
    "Side",
    "Stage",
    "TokenChange",
    "Trial",
    "Update",
    "answer",
    "answer_together",
    "compare",
    "complete",
    "differences",
    "ends_of",
    "plan",
    "sweep",
]
