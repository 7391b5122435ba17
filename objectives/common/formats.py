"""What kind of picture a file is, by its first bytes and not by its name."""

from __future__ import annotations

from pathlib import Path

READ = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")  # Pillow's names
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".avif"}
)
HEADER = 64  # bytes that say what a file is
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"GIF8": "GIF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance",
    b"#?RGBE": "Radiance",
    b"FUJIFILMCCD-RAW": "raw",
    b"%PDF-": "PDF",
}
BRANDS = {  # of ISO base media files, at byte 8; which other brands are videos is not told apart
    "HEIC": ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"),
    "AVIF": ("avif", "avis"),
    "raw": ("crx ",),
}
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
    """The format of a file: one of READ, or a key of ADVICE; None where its content is none of them."""
    if path.suffix.lower() in RAW_SUFFIXES:
        return "raw"
    with path.open("rb") as file:
        header = file.read(HEADER)
    if header[:2] == b"BM" and path.suffix.lower() in SUFFIXES:
        return "BMP"
    return format_of_content(header)


def format_of_content(header: bytes) -> str | None:
    """The format of a file that begins with these HEADER bytes, as format_of; but BMP has no sure sign."""
    if header[4:8] == b"ftyp":
        return _format_of_media(header)
    if header[:4] == b"RIFF":
        return "WEBP" if header[8:12] == b"WEBP" else "video"
    return next((name for magic, name in MAGIC.items() if header.startswith(magic)), None)


def _format_of_media(header: bytes) -> str:
    """Of a file that begins with a box `ftyp`: its main brand, then the compatible ones."""
    end = min(int.from_bytes(header[:4], "big"), len(header))
    brands = [header[8:12], *(header[start : start + 4] for start in range(16, end, 4))]
    names = [name for name, known in BRANDS.items() for brand in brands if brand.decode("latin-1") in known]
    return "AVIF" if "AVIF" in names else next(iter(names), "video")
