"""
What a file is: by its first bytes, by its name, and what the web calls that.

The tables are ours. The host's (``mimetypes``) know WebP on one machine and not on the
next.
"""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 32
"""As many as ``suffix_of`` looks at."""

_AVIF_BRANDS: Final = {b"avif", b"avis"}
_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
}
"""Suffix of a picture -> its type."""
_OTHER_TYPES: Final = {
    ".apng": "image/apng",
    ".bmp": "image/bmp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".ico": "image/vnd.microsoft.icon",
    ".jxl": "image/jxl",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".m4a": "audio/mp4",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
}
"""What may be uploaded besides."""
_SUFFIXES: Final = {kind: suffix for suffix, kind in reversed(_TYPES.items())}


def suffix_of(head: bytes) -> str | None:
    """
    Return ".png", ".jpg", ".webp", ".gif" or ".avif" for the first bytes of a file.

    None: not one of them. HTML and SVG are not pictures here: they can carry scripts.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return ".avif"
    return None


def suffix_in(name: str) -> str:
    """Return the suffix of a file *name*, as written, if it is a picture's; else ""."""
    stem, dot, end = name.rpartition(".")
    return dot + end if stem and f".{end.lower()}" in _TYPES else ""


def type_of(name: str) -> str | None:
    """Return the media type that the suffix of a file *name* stands for, if any."""
    _, dot, end = name.rpartition(".")
    suffix = dot + end.lower()
    return _TYPES.get(suffix) or _OTHER_TYPES.get(suffix)


def suffix_for(media_type: str) -> str | None:
    """Return the suffix for a picture of a media type; parameters do not matter."""
    return _SUFFIXES.get(media_type.partition(";")[0].strip().lower())
