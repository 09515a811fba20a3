"""Writes files whole or not at all, through no link that lies in the way."""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def replace_file(path: Path, pieces: Iterable[bytes], mode: int = 0o666) -> None:
    """
    Write *pieces* to *path*; a reader sees the old file or the new one. Blocks.

    A link at *path* gives way to the file; what it led to stays as it is.

    Args:
        mode: Who may do what with it, from the first byte on; less the umask.

    Raises:
        OSError: It cannot be written; what was there is untouched.
    """
    # Nobody can know the name before, and "x" opens nothing that is there: no link.
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
