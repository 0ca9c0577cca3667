"""How much of the time that a benchmark was given is left."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """``seconds`` from ``start``, both of a monotonic clock; what finds too few left is named as skipped."""

    seconds: float
    start: float

    @classmethod
    def after(cls, minutes: float) -> "Deadline":
        """One that begins now."""
        return cls(60 * minutes, time.monotonic())

    def left(self) -> float:
        """Seconds; below 0 afterwards."""
        return self.seconds - (time.monotonic() - self.start)

    def said(self, needed: float) -> str:
        """Why a part was skipped that may need as many seconds."""
        return f"{max(0.0, self.left()):.0f} s were left, and it may take {needed:.0f} s"
