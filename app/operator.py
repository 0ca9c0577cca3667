"""What whoever runs the server sets in the environment: checked before the page is up, so that no visitor finds out."""

import os
from dataclasses import dataclass

AUTH, UPLOAD, DAYS = "RESPRUNE_AUTH", "RESPRUNE_UPLOAD_MB", "RESPRUNE_DAYS"


@dataclass(frozen=True)
class Operator:
    """The operator's settings.

    Attributes:
        auth: names and passwords of those who may use the page; everybody may, where it is ``None``.
        upload_mb: megabytes of one uploaded file, at most.
        days: after which a job that nobody touches is deleted with its pictures.
    """

    auth: tuple[tuple[str, str], ...] | None = None
    upload_mb: int = 50
    days: float = 7

    @classmethod
    def of_environment(cls) -> "Operator":
        """The settings as :data:`AUTH`, :data:`UPLOAD` and :data:`DAYS` of the environment say.

        Raises:
            SystemExit: with a sentence for the operator, if one of them cannot be read.
        """
        return cls(
            _auth(os.environ.get(AUTH, "")),
            int(_number(UPLOAD, cls.upload_mb, 1, 250)),
            _number(DAYS, cls.days, 0, 365),
        )


def _auth(text: str) -> tuple[tuple[str, str], ...] | None:
    if not text.strip():
        return None
    pairs = [pair.strip().partition(":") for pair in text.split(",")]
    if not all(name and password for name, _, password in pairs):  # which are not repeated: logs are read by others
        raise SystemExit(f"{AUTH} cannot be read; give name:password, several of them separated by commas.")
    return tuple((name, password) for name, _, password in pairs)


def _number(name: str, default: float, least: float, most: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise SystemExit(f"{name} is {text[:40]!r}; give a number from {least} to {most}.")
    return value
