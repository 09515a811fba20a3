"""Tests of what is run only where POSIX is missing; see ``hidden.py``."""

from __future__ import annotations

import os

collect_ignore_glob = ["test_*.py"] if hasattr(os, "register_at_fork") else []
