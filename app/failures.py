"""What the user is told when something goes wrong."""

import errno
import logging
import os

log = logging.getLogger(__name__)
OUT_OF_MEMORY = "The device ran out of memory; choose a smaller picture or a smaller model, and ask again."
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
UNEXPECTED = "Something went wrong on the server, and its log says what; the next question will be answered as usual."


class Refused(Exception):
    """What the page itself cannot do. The message is a sentence for the user."""


def report(error: Exception) -> str:
    """One sentence for the user; what an error of the program itself says goes to the log instead."""
    from resprune.errors import InputError  # not at the top: the page is up before the library is imported

    if isinstance(error, InputError | Refused):
        return str(error)
    log.error("Unexpected error.", exc_info=error)
    if isinstance(error, OSError) and error.errno in DISK:
        return (
            f"The server cannot write to its disk ({os.strerror(error.errno)}); tell who runs it, and try again later."
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    return UNEXPECTED
