"""What the header of a file says: its format, whatever its name says, and a size that must not be believed blindly."""

from __future__ import annotations

import re

from objectives.common.files import MAX_PIXELS
from objectives.common.formats import HEADER, format_of_content

EXR_START = b"\x76\x2f\x31\x01"
LONGEST = HEADER  # bytes that are enough to tell
_IN_WORDS = {"raw": "a camera's raw file", "TIFF": "TIFF, or a raw file like it", "video": "a video"}
_OTHERS = {  # that formats.py does not tell
    "BMP": rb"BM....\0\0\0\0",
    "PFM": rb"P[Ff]\s",
    "NumPy": rb"\x93NUMPY",
    "ZIP": rb"PK\x03\x04",
    "HTML": rb"\s*<(!DOCTYPE|html|HTML)",
}


def describe(start: bytes) -> str:
    """What the first LONGEST bytes of a file say that it is, for the end of a message."""
    if not start:
        return "the file is empty"
    name = format_of_content(start)
    if name is None:
        name = next((name for name, sign in _OTHERS.items() if re.match(sign, start, re.DOTALL)), None)
    if name is None:
        return "its content is of no format that is known here"
    return f"its content is {_IN_WORDS.get(name, name)}"


def check_pixels(width: int, height: int) -> None:
    """Raises ValueError, without a path, where a header declares no pixels or more than MAX_PIXELS."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"its header declares {width} x {height} pixels; 1 to {MAX_PIXELS} are allowed")
