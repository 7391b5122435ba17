"""What the header of a file says: its format, whatever its name says, and a size that must not be believed blindly."""

from __future__ import annotations

import re
from pathlib import Path

MAX_PIXELS = 120_000_000  # a small file can declare a huge image, so the header is checked before anything is decoded
EXR_START = b"\x76\x2f\x31\x01"
LONGEST = 64  # bytes that are enough to tell
_MEDIA = rb"....ftyp(?:.{4}){0,12}?"  # ISO base media files: one of their brands says what is in them
_STARTS = (
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", rb"\xff\xd8\xff"),
    ("GIF", rb"GIF8[79]a"),
    ("WEBP", rb"RIFF....WEBP"),
    ("AVIF", _MEDIA + rb"(?:avif|avis)"),
    ("HEIC", _MEDIA + rb"(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1)"),
    ("CR3", rb"....ftypcrx "),
    ("JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("JPEG XL", rb"\0\0\0\x0cJXL |\xff\x0a"),
    ("BMP", rb"BM....\0\0\0\0"),
    ("RAF", rb"FUJIFILMCCD-RAW"),
    ("TIFF", rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    ("Photoshop", rb"8BPS"),
    ("OpenEXR", re.escape(EXR_START)),
    ("Radiance", rb"#\?(?:RADIANCE|RGBE)"),
    ("PFM", rb"P[Ff]\s"),
    ("NumPy", rb"\x93NUMPY"),
    ("video", rb"....ftyp|RIFF....AVI |\x1a\x45\xdf\xa3"),
    ("PDF", rb"%PDF-"),
    ("ZIP", rb"PK\x03\x04"),
    ("HTML", rb"\s*<(?:!DOCTYPE|html|HTML)"),
)
_LIKE = {"TIFF": "TIFF or a raw file like it"}


def start_of(path: Path) -> bytes:
    """The first LONGEST bytes of a file. Raises OSError where it cannot be opened."""
    with path.open("rb") as file:
        return file.read(LONGEST)


def format_at(start: bytes) -> str | None:
    """The format that the first LONGEST bytes of a file are of; None if it is none that is known here."""
    return next((name for name, pattern in _STARTS if re.match(pattern, start, re.DOTALL)), None)


def describe(start: bytes) -> str:
    """What the first LONGEST bytes of a file say that it is, for the end of a message."""
    if not start:
        return "the file is empty"
    name = format_at(start)
    if name is None:
        return "its content is of no format that is known here"
    return f"its content is {_LIKE.get(name, name)}"


def check_pixels(width: int, height: int) -> None:
    """Raises ValueError, without a path, where a header declares no pixels or more than MAX_PIXELS."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"its header declares {width} x {height} pixels; 1 to {MAX_PIXELS} are allowed")
