"""
A batch while it runs: two moving lines, or a plain one now and then.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from rich.console import RenderableType

    from apimodels_async.cli.batch_tally import Tally
    from apimodels_async.cli.output import Output

REFRESHES_PER_S: Final = 4
BAR_WIDTH: Final = 30
MINUTE_S, HOUR_S = 60, 3600


class Money(Protocol):
    """
    What a batch says about its money, US dollars of all runs together.
    """

    @property
    def spent(self) -> Decimal:
        """
        On results.
        """
        ...

    @property
    def reserved(self) -> Decimal:
        """
        On what is under way or unknown.
        """
        ...


def figures(tally: Tally, money: Money, now: float) -> str:
    """
    Return the state of things in one line.
    """
    under_way = tally.given - tally.ended
    left = tally.eta_s(now)
    parts = [
        f"{tally.states['completed']} of {tally.total} done",
        f"{under_way} pending",
        f"{tally.bad} failed",
        f"{tally.pace(now):.1f} images/s",
        f"${money.spent:.3f} spent",
    ]
    if money.reserved:
        parts.append(f"${money.reserved:.3f} on its way or unknown")
    if left is not None and tally.ended < tally.total:
        parts.append(f"{span(left)} left")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """
    Return a duration for people: "42 s", "3 min", "2 h 5 min".
    """
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    hours, rest = divmod(seconds, HOUR_S)
    return f"{hours:.0f} h {rest / MINUTE_S:.0f} min"


def tell_progress(tally: Tally, money: Money, output: Output) -> None:
    """
    Say how far it is: a line on stderr, or an object on stdout.
    """
    now = time.monotonic()
    if not output.json:
        output.note(figures(tally, money, now), "")
    left = tally.eta_s(now)
    output.record(
        "progress",
        total=tally.total,
        pending=tally.given - tally.ended,
        completed=tally.states["completed"],
        failed=tally.bad,
        images_s=round(tally.pace(now), 3),
        spent=money.spent,
        reserved=money.reserved,
        eta_s=None if left is None else round(left, 1),
    )


@contextlib.contextmanager
def moving_lines(
    tally: Tally, money: Money, output: Output
) -> Iterator[Callable[[], None]]:
    """
    Show the progress on a lively terminal; yields what ends that before the body does.
    """

    def lines() -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=tally.total, completed=tally.ended, width=BAR_WIDTH),
            Text(f"{tally.ended}/{tally.total}"),
        )
        return Group(bar, Text(figures(tally, money, time.monotonic()), "dim"))

    live = Live(
        get_renderable=lines,
        console=output.stderr,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
    )
    with live:
        yield live.stop
