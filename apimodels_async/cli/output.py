"""
Output: lines for people, JSON for programs, errors for both.

Rules of this file:
1. Text from elsewhere is escaped (``_text.escaped``) and never read as markup.
2. Results go to stdout; what is said about them (errors, notes) to stderr.
3. Colour and movement are for a terminal; ``NO_COLOR`` takes the colour only (rich
   reads it).
4. Nothing here fails: ``terminal.streams`` sees to what stdout or stderr cannot take.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from attrs import define, field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.style import Style
from rich.text import Text

from apimodels_async._text import escaped
from apimodels_async.cli.errors import charge, next_step
from apimodels_async.cli.help.columns import WORDS_MIN
from apimodels_async.cli.words import plain_words, split_tip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from decimal import Decimal

    from rich.console import RenderableType

    from apimodels_async import ApiModelsError, ImageResult
    from apimodels_async.models import SavedAt

PROMPT_CHARS: Final = 40


def short_prompt(prompt: str | None) -> str:
    """Return *prompt* as it is listed: 40 characters at most; "" if there is none."""
    text = prompt or ""
    return text if len(text) <= PROMPT_CHARS else f"{text[: PROMPT_CHARS - 1]}…"


def dollars(amount: Decimal | None) -> str:
    """Return *amount*, US dollars, as it is listed; "-" if it is not known."""
    return "-" if amount is None else f"${amount}"


def is_interactive(stream: IO[str]) -> bool:
    """Return whether moving lines and several of them are welcome on *stream*."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def screen(stream: IO[str]) -> Console:
    """Return a console for *stream*, plain or for a terminal."""
    interactive = is_interactive(stream)
    return Console(
        file=stream,
        force_terminal=interactive,
        color_system="auto" if interactive else None,
        highlight=False,
    )


def _plain(value: object) -> str:
    # Money stays exact as text; a float would round it.
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


@define(eq=False)
class Output:
    """Where a command says what happened."""

    json: bool = False
    """One JSON object a line on stdout, instead of text."""
    orders: bool = True
    """The command orders; one that does not says nothing of its own cost."""
    stdout: Console = field(factory=lambda: screen(sys.stdout))
    stderr: Console = field(factory=lambda: screen(sys.stderr))

    @property
    def interactive(self) -> bool:
        """Whether both streams are terminals, for people."""
        return not self.json and self.stdout.is_terminal and self.stderr.is_terminal

    @property
    def failed(self) -> bool:
        """Whether stdout takes no more (``terminal.streams``)."""
        return getattr(self.stdout.file, "failure", None) is not None

    def line(self, text: str, style: str = "") -> None:
        """Print one line for people."""
        if not self.json:
            self.stdout.print(Text(escaped(text), style), soft_wrap=True)

    def facts(self, **facts: object) -> None:
        """Print one line a fact, for people; those that are None are left out."""
        for name, value in facts.items():
            if value is not None and not self.json:
                text = value if isinstance(value, Text) else escaped(str(value))
                shown = Text.assemble((f"{name:<9}", "dim"), text)
                self.stdout.print(shown, soft_wrap=True)

    def show(self, picture: RenderableType) -> None:
        """Print something of rich's on a terminal; its texts must be printable."""
        self.stdout.print(picture)

    def record(self, event: str, **fields: Any) -> None:
        """Print one JSON object, for programs."""
        if self.json:
            text = json.dumps({"event": event, **fields}, default=_plain)
            self.stdout.file.write(f"{text}\n")

    def note(self, text: str, style: str = "dim") -> None:
        """Print a note on stderr."""
        self.stderr.print(Text(escaped(text), style), soft_wrap=True)

    def warning(self, text: str) -> None:
        """Print what may be a mistake, on stderr."""
        self.note(f"warning: {plain_words(text)}", "yellow")

    def error(self, error: ApiModelsError, *, tip: str = "", usage: str = "") -> None:
        """
        Print what happened, whether it was charged, and what to do next.

        In one line, but on a terminal.

        Args:
            tip: What to do; else as the error itself says, or its kind.

            usage: How the command is called, where that was the mistake.
        """
        said = plain_words(str(error))
        message, own = split_tip(said)
        tip = tip or own or next_step(error)
        charged = charge(error, orders=self.orders)
        if self.stderr.is_terminal:
            self._show_error(message, charged, tip, usage)
        else:
            tip = tip and f"tip: {tip}"
            line = " | ".join(filter(None, (message, charged, tip)))
            self.note(f"apimodels: error: {line}", "")
        self.record(
            "error",
            type=type(error).__name__,
            message=said,
            task_id=error.task_id,
            status=error.status,
            code=error.code,
            charged=error.charged,
            idempotency_key=error.idempotency_key,
        )

    def _show_error(self, message: str, charged: str, tip: str, usage: str) -> None:
        head = "error: "
        told = textwrap.fill(
            head + escaped(message),
            max(self.stderr.width, len(head) + WORDS_MIN),
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        ).removeprefix(head)
        # A tip is not wrapped: it holds commands, to be copied in one piece.
        parts: list[str | tuple[str, str]] = []
        parts += [(head, "bold red"), told]
        parts += [("\nnote: ", "bold yellow"), charged] if charged else []
        parts += [("\n  tip: ", "bold green"), escaped(tip)] if tip else []
        parts += [("\n\nusage: ", "bold"), escaped(usage)] if usage else []
        self.stderr.print(Text.assemble(*parts), soft_wrap=True)


@contextlib.contextmanager
def spinner(output: Output, text: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner with *text* and the elapsed time; yields what changes the text."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=output.stderr,
        transient=True,
        disable=not output.interactive,
    )
    with progress:
        row = progress.add_task(escaped(text), total=None)
        yield lambda words: progress.update(row, description=escaped(words))


def _address(url: str) -> str:
    return url if url.startswith("http") else "(sent inline)"


def addresses(result: ImageResult) -> str:
    """Return where the API keeps the pictures of *result*, for people."""
    return " ".join(map(_address, result.urls))


def linked(addresses: Iterable[tuple[str, str]]) -> Text | None:
    """Return texts that a terminal makes links of: text, address; None without any."""
    texts = [
        Text(escaped(text), Style(link=address) if address else "")
        for text, address in addresses
    ]
    return Text(" ").join(texts) if texts else None


def _file_link(path: SavedAt) -> tuple[str, str]:
    link = path.absolute().as_uri() if isinstance(path, Path) else ""
    return str(path), link


def _url_link(url: str) -> tuple[str, str]:
    # What is no plain text could end the escape sequence early.
    plain = url.startswith("http") and url.isascii() and url.isprintable()
    return _address(url), url if plain else ""


def print_result(
    output: Output,
    result: ImageResult,
    paths: Sequence[SavedAt],
    *,
    ordered_before: bool | None = None,
) -> None:
    """
    Print where a picture is: its URLs, and its files if it was saved.

    Args:
        ordered_before: Whether an earlier command bought it; None: without a store.
    """
    cost = None if result.credits is None else f"${result.credits}"
    if ordered_before:
        cost = f"{cost or 'paid'} before; not charged now"
    output.facts(
        url=linked(map(_url_link, result.urls)),
        saved=linked(map(_file_link, paths)),
        task=result.task_id,
        cost=cost,
        time=None if result.duration_s is None else f"{result.duration_s:.1f} s",
    )
    output.record(
        "result",
        url=result.url,
        urls=result.urls,
        path=paths[0] if paths else None,
        paths=paths,
        task_id=result.task_id,
        model=result.model,
        credits=result.credits,
        duration_s=result.duration_s,
        created_at=result.created_at,
        completed_at=result.completed_at,
        expires_at=result.expires_at,
        **({} if ordered_before is None else {"ordered_before": ordered_before}),
    )
