"""
Stdout and stderr of a program that pays: what one cannot take is not lost.

Rules of this file:
1. A write never raises. No command is cut short, between paying and saving, for want of
   a reader or of space.
2. Stdout is flushed at each write, so that its failure is known then and not at exit.
   What it cannot take goes to stderr, and the exit code says so.
3. Where stderr fails as well, there is nobody left to tell.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

CLOSED_PIPE: Final = 141  # 128 + SIGPIPE
UNWRITABLE: Final = 1


@frozen
class Failure:
    """Why a stream takes no more."""

    reason: str
    pipe: bool
    """Its reader left."""

    @classmethod
    def of(cls, error: OSError | ValueError) -> Self:
        """Return what *error* of a write means; ValueError: the stream is closed."""
        pipe = isinstance(error, BrokenPipeError)
        return cls(getattr(error, "strerror", None) or str(error), pipe)

    @property
    def exit_code(self) -> int:
        """Of a command that went well but for this."""
        return CLOSED_PIPE if self.pipe else UNWRITABLE


class Stream(io.TextIOBase):
    """
    A standard stream that drops what it cannot take.

    Args:
        stream: The process's own; None: it was closed when the process began.
    """

    failure: Failure | None = None

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = _closed() if stream is None else stream
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal's encoding lacks is no failure.
            stream.reconfigure(errors="backslashreplace")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the process's own stream has it."""
        return self._stream.encoding or "utf-8"

    @property
    def buffer(self) -> Any:
        """The bytes below, for those who write these."""
        return self._stream.buffer

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return not self._stream.closed and self._stream.isatty()

    def write(self, text: str) -> int:
        """Write *text* at once, or drop it."""
        if self.failure is None:
            self.failure = self._try(text)
            if self.failure is None:
                return len(text)
            self._abandon()
        self.drop(text, self.failure)
        return len(text)

    def drop(self, text: str, failure: Failure) -> None:
        """Take what cannot be written."""

    def _try(self, text: str) -> Failure | None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:
            return Failure.of(error)
        return None

    def _abandon(self) -> None:
        # The interpreter flushes it once more at exit, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class Stdout(Stream):
    """
    Stdout; what it cannot take goes to stderr.

    Args:
        lists: Nothing on it was paid for: a reader who left has seen enough.
    """

    def __init__(self, stream: TextIO | None, *, lists: bool) -> None:
        super().__init__(stream)
        self._lists = lists
        self._said = False

    def drop(self, text: str, failure: Failure) -> None:
        """Write it to stderr."""
        if self._lists and failure.pipe:
            return
        if not self._said:
            self._said = True
            sys.stderr.write(
                f"apimodels: stdout cannot be written ({failure.reason}); this was "
                "for it:\n"
            )
        sys.stderr.write(text)


@contextlib.contextmanager
def standard_streams(*, lists: bool) -> Iterator[Stdout]:
    """Put ours in place of the process's own for the body; yields stdout."""
    stdout = Stdout(sys.stdout, lists=lists)
    with (
        contextlib.redirect_stderr(Stream(sys.stderr)),
        contextlib.redirect_stdout(stdout),
    ):
        yield stdout


def _closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream
