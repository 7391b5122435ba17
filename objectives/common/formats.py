"""Which files are plain pictures that can be read, by content and not by name, and what to do with others."""

from __future__ import annotations

from pathlib import Path

from objectives.common.headers import format_at, start_of

READ = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")  # Pillow's names
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".avif"}
)
RAW_SUFFIXES = frozenset(  # mostly TIFF files, whose first picture is a small preview
    {".dng", ".raf", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".pef", ".srw"}
    | {".3fr", ".fff", ".iiq", ".mos", ".mrw", ".kdc", ".dcr", ".erf", ".mef", ".x3f", ".gpr", ".rwl"}
)
# HEIC needs a decoder that Pillow has not. The package pi-heif would be it, which only decodes (pillow-heif has x265,
# which is GPL). No extra brings it, since a converter is one command, and what is not read is always named.
ADVICE = {
    "HEIC": "HEIC is not read: convert it to JPEG or PNG first, for example with heif-convert (libheif)",
    "JPEG XL": "JPEG XL is not read: convert it to JPEG or PNG first, for example with djxl",
    "JPEG 2000": "JPEG 2000 is not read: convert it to JPEG or PNG first",
    "Photoshop": "Photoshop files are not read: export them as PNG or TIFF",
    "OpenEXR": "OpenEXR is not read here: these are pictures of 8 or 16 bits",
    "Radiance": "Radiance HDR is not read here: these are pictures of 8 or 16 bits",
    "raw": "a camera's raw files are not read here: develop them first, as TIFF of 16 bits or JPEG",
    "PDF": "PDF is not read: export its pictures as PNG",
    "video": "videos are not read",
}


def format_of(path: Path) -> str | None:
    """The format of a file: one of READ, a key of ADVICE, another that headers.py knows, or None.

    Raises OSError where the file cannot be opened.
    """
    name = format_at(start_of(path))
    is_raw = name in ("RAF", "CR3") or path.suffix.lower() in RAW_SUFFIXES
    return "raw" if is_raw else name
