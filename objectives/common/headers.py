"""What the header of a file says: its format, whatever its name says, and a size that must not be believed blindly."""

from __future__ import annotations

import re

from objectives.common.files import MAX_PIXELS

EXR_START = b"\x76\x2f\x31\x01"
_STARTS = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("GIF", rb"GIF8[79]a"),
    ("WEBP", rb"RIFF....WEBP"),
    ("AVIF", rb"....ftyp(avif|avis)"),
    ("HEIC", rb"....ftyp(heic|heix|hevc|mif1|msf1)"),
    ("BMP", rb"BM....\0\0\0\0"),
    ("RAF", rb"FUJIFILMCCD-RAW"),
    ("TIFF or a raw file like it", rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    ("OpenEXR", re.escape(EXR_START)),
    ("Radiance", rb"#\?(RADIANCE|RGBE)"),
    ("PFM", rb"P[Ff]\s"),
    ("NumPy", rb"\x93NUMPY"),
    ("PDF", rb"%PDF-"),
    ("ZIP", rb"PK\x03\x04"),
    ("HTML", rb"\s*<(!DOCTYPE|html|HTML)"),
)
LONGEST = 64  # bytes that are enough to tell


def describe(start: bytes) -> str:
    """What the first LONGEST bytes of a file say that it is, for the end of a message."""
    if not start:
        return "the file is empty"
    for name, pattern in _STARTS:
        if re.match(pattern, start, re.DOTALL):
            return f"its content is {name}"
    return "its content is of no format that is known here"


def check_pixels(width: int, height: int) -> None:
    """Raises ValueError, without a path, where a header declares no pixels or more than MAX_PIXELS."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"its header declares {width} x {height} pixels; 1 to {MAX_PIXELS} are allowed")
