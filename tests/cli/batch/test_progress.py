"""How a batch is counted while it runs."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from cli.batch.conftest import progress_of

from apimodels_async import (
    DownloadError,
    GenerationFailedError,
    OutcomeUnknownError,
    RateLimitError,
    SessionClosedError,
    TransportError,
)
from apimodels_async.cli.batch.progress import duration, figures


class Money:
    """The money of a batch."""

    spent = Decimal("0.5")
    reserved = Decimal("0.25")


def test_each_end_has_a_word():
    """Completed, unsaved, failed, refused, unknown or pending."""
    ends = [
        (None, "completed"),
        (DownloadError("disk"), "unsaved"),
        (GenerationFailedError("no"), "failed"),
        (RateLimitError("slow"), "refused"),
        (OutcomeUnknownError("?"), "unknown"),
        (SessionClosedError("bye", task_id="clx1"), "pending"),
        (SessionClosedError("bye"), "unknown"),
    ]

    assert [[*progress_of(error).states] for error, _ in ends] == [
        [state] for _, state in ends
    ]


def test_what_an_earlier_run_ended_is_counted_apart():
    """Its outcomes do not count for the pace of this run."""
    progress = progress_of(None, None, before={1: "completed"})

    assert progress.earlier == 1
    assert progress.pace(progress.started_at + 10) == pytest.approx(0.1)


def test_trouble_without_end_stops_a_batch():
    """After 20 more than can be under way in a row, going on makes no sense."""
    assert not progress_of(*[TransportError("gone")] * 20).broken
    assert progress_of(*[TransportError("gone")] * 21).broken
    assert not progress_of(*[TransportError("gone")] * 20, None, total=30).broken
    assert not progress_of(*[GenerationFailedError("no")] * 30).broken


def test_progress_is_one_line():
    """Done, pending, failed, pace, money and the time that is left."""
    line = figures(progress_of(None, total=3), Money(), time.monotonic())

    assert line.startswith("1 of 3 done, 0 pending, 0 failed, 0.1 images/s, $0.500")
    assert "$0.250 on its way or unknown" in line
    assert line.endswith("20 s left")
    assert figures(progress_of(total=3), Money(), time.monotonic()).endswith("unknown")


def test_a_batch_that_stops_is_over_with_what_is_under_way():
    """After Ctrl-C the time left is that of the rows under way, not of the file."""
    progress = progress_of(None, None, total=1000)
    progress.given, progress.stopping = 4, True

    assert progress.eta_s(progress.started_at + 10) == pytest.approx(10)
    assert "10 s left" in figures(progress, Money(), time.monotonic())
    progress.given = 2
    assert "left" not in figures(progress, Money(), time.monotonic())


def test_durations_are_for_people():
    """Seconds, minutes, or hours and minutes."""
    shown = {0.4: "0 s", 119: "119 s", 180: "3 min", 7500: "2 h 5 min"}

    assert {seconds: duration(seconds) for seconds in shown} == shown
