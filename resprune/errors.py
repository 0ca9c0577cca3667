"""The one error that a caller's input can cause."""


class InputError(ValueError):
    """A request that cannot be served. Its message is one sentence for the user: what was wrong, and what to do."""
