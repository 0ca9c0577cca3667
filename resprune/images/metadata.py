"""PNG without what is written beside the pixels.

Image generators write their whole work into it, megabytes of text or of colour profile. Pillow unpacks all of that,
refuses the picture where it is too much or broken, and has no way to leave it out.
"""

import struct
import zlib
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")  # the last three of animations
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
TURNING = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # texts that may say how the camera was held
LONGEST = 500_000  # bytes of such a text, or of EXIF: half of what Pillow takes


def without_metadata(file: BinaryIO) -> bytes:
    """A PNG's pixels, and of the rest only what says how the camera was held; nothing else is read or unpacked.

    From the first chunk on that is none, all is handed on as it is, for the decoder to judge.

    Args:
        file: of a PNG, wherever it stands.
    """
    file.seek(len(PNG))
    kept = [PNG]
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            return b"".join([*kept, head, file.read()])
        if kind in PIXELS or _turns(file, kind, length):
            kept += head, file.read(length + 4)  # and its checksum
        else:
            file.seek(length + 4, 1)
    return b"".join([*kept, head])


def _turns(file: BinaryIO, kind: bytes, length: int) -> bool:
    """Whether the chunk that begins here may say how the camera was held, and costs nothing to read."""
    if kind not in (*TEXTS, b"eXIf") or length > LONGEST:
        return False
    start = file.tell()
    data, checksum = file.read(length), file.read(4)
    file.seek(start)
    if checksum != struct.pack(">I", zlib.crc32(kind + data)):
        return False
    return kind == b"eXIf" or _small(kind, data)


def _small(kind: bytes, text: bytes) -> bool:
    """Whether a text is one of :data:`TURNING`, and no bomb."""
    keyword, _, rest = text.partition(b"\0")
    if keyword not in TURNING:
        return False
    if kind == b"zTXt":
        return _unpacks(rest[1:])
    if kind == b"iTXt" and rest[:1] != b"\0":
        return _unpacks(rest[2:].split(b"\0", 2)[-1])  # behind the language and the translated keyword
    return True


def _unpacks(packed: bytes) -> bool:
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, LONGEST)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
