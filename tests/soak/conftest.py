"""
The fixtures of tests/chaos, and whether there is all night.
"""

from __future__ import annotations

import os

from chaos.conftest import connect, emulator, port

__all__ = ["connect", "emulator", "port"]

LONG = bool(os.environ.get("SOAK"))
"""Set by the nightly session: everything is tried longer."""
