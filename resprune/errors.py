"""The one error that a caller's input can cause."""

QUOTED = 60  # characters of a wrong value that a message repeats


class InputError(ValueError):
    """A request that cannot be served. Its message is one sentence for the user: what was wrong, and what to do."""


def quoted(value: object) -> str:
    """A wrong value as a message repeats it, cut short: it may be as long as anybody likes."""
    if isinstance(value, int) and abs(value) >= 10**QUOTED:
        return f"a number of more than {QUOTED} digits"
    text = repr(value[:QUOTED]) if isinstance(value, str) else str(value)[:QUOTED]
    return f"{text}..." if len(str(value)) > QUOTED else text
