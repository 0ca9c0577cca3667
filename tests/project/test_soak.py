"""What the soak counts; the soak itself takes minutes and is ``make soak``."""

from checks.soak import _overtaken
from checks.soak_visitors import Turn


def test_who_is_overtaken_is_counted() -> None:
    fair = [Turn(0, 5), Turn(2, 7), Turn(2.5, 6.5)]
    assert _overtaken(fair) == 0
    assert _overtaken([*fair, Turn(3, 3.5)]) == 1
