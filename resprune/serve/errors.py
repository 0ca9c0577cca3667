"""What goes wrong with a request, as OpenAI's clients expect it."""

from typing import Any


class Refusal(Exception):
    """A request that gets an error in place of an answer.

    Args:
        message: one sentence for the user: what was wrong, and what to do.
        status: of HTTP.
        param: the part of the request that was wrong.
        code: for programs.
    """

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code

    def as_dict(self) -> dict[str, Any]:
        """The body of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
