"""
What a file is, by its first bytes.
"""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 32
"""As many as :func:`suffix_of` looks at."""

_AVIF_BRANDS: Final = {b"avif", b"avis"}


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
