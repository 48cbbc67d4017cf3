"""The formats of pictures that Tailproof reads, and the names of what people have instead of these.

This list is the only one: the sources, the decoder, `tailproof predict` and the messages use it. It
needs no array library, so that a workflow can list files at no cost.
"""

import re

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WebP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
}
"""The suffixes of each format. The content decides how a file is read, not its suffix."""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

FORMAT_NAMES = f"{', '.join([*FORMATS][:-1])} or {[*FORMATS][-1]}"

LFS = "a pointer of Git LFS (run `git lfs pull`)"

_MARKS = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WebP"),
    (0, b"RIFF", "an audio or video file"),
    (0, b"BM", "BMP"),
    (128, b"DICM", "a DICOM file"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    (0, b"GIF8", "a GIF"),
    (0, b"\x93NUMPY", "a .npy array"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)"),
    *(
        (0, b"P%d%s" % (kind, blank), "a netpbm picture")
        for kind in range(1, 7)
        for blank in (b"\n", b" ")
    ),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x00\x05\x16\x07", "a macOS resource fork"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"version https://git-lfs", LFS),
)
"""Offset, bytes and kind; the first that fits."""

_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), "HEIC"),
    b"crx ": "a camera raw picture (CR3)",
}

_TEXTS = {
    rb"<!doctype html|<html|<head|<body": "an HTML page",
    rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!doctype svg[^>]*>\s*)*<svg": "an SVG drawing",
    rb"<\?xml|<[a-z]": "an XML document",
    rb"[{\[]": "a JSON document",
}


EMPTY, ZEROS = "an empty file", "a file of zeros, whose content was lost"
ADVICE = {
    **dict.fromkeys((EMPTY, ZEROS), "copy it again"),
    **dict.fromkeys(
        (LFS, "an HTML page", "an XML document", "a JSON document", "a text file"),
        "fetch the picture itself",
    ),
    **dict.fromkeys(
        ("a ZIP archive", "a gzip archive", "a RAR archive", "a 7z archive"), "unpack it"
    ),
    "a macOS resource fork": "remove it",
}
"""What to do with a file of a kind that is no picture; all others may be converted."""


def kind_of(data: bytes) -> str:
    """Return what the first bytes of a file say that it is: a key of FORMATS, or a noun phrase."""
    for offset, mark, kind in _MARKS:
        if data.startswith(mark, offset):
            return kind
    if data[4:8] == b"ftyp":
        return _kind_of_media(data)
    if not data.strip(b"\0"):
        return ZEROS if data else EMPTY
    return _kind_of_text(data[:1024].lstrip(b"\xef\xbb\xbf").lstrip())


def _kind_of_media(data: bytes) -> str:
    """Name a file of the ISO base media format by its brands; the major brand comes first."""
    length = min(int.from_bytes(data[:4]), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    if b"avif" in brands:
        return "AVIF"
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "a video")


def _kind_of_text(start: bytes) -> str:
    for pattern, kind in _TEXTS.items():
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            return kind
    return "a file of another format" if b"\0" in start or not start.isascii() else "a text file"
