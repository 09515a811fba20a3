"""What the library logs, where a command has no better words for it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apimodels_async.cli.output import Output
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from collections.abc import Iterator


class Notes(logging.Handler):
    """Prints warnings for people, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        Output().note(plain_words(record.getMessage()), "yellow")


@contextmanager
def showing_log(*loggers: str) -> Iterator[None]:
    """Print what comes from *loggers* while the body runs."""
    notes = Notes(logging.WARNING)
    found = [logging.getLogger(f"apimodels_async.{name}") for name in loggers]
    for each in found:
        each.addHandler(notes)
    try:
        yield
    finally:
        for each in found:
            each.removeHandler(notes)
