"""Ctrl-C, or an exit, in a step of the order's own task."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import EPOCH

from apimodels_async import OutcomeUnknownError, Session
from apimodels_async._adapters import Adapters


class Struck:
    """A transport in whose step the process is interrupted."""

    connections = 0

    def __init__(self, error, sent_at):
        self.error = error
        self.sent_at = sent_at

    async def send(self, _request, sent):
        """Send, as far as that goes."""
        sent.at = self.sent_at
        await asyncio.sleep(0)
        raise self.error

    async def aclose(self):
        """Close nothing."""


class StruckSession(Session):
    """A session over such a transport."""

    def __init__(self, error, sent_at):
        self.outside = Adapters()
        self.outside.transport = lambda *_args, **_options: Struck(error, sent_at)
        super().__init__("sk_x", base_url="http://127.0.0.1:9/api/v1")

    def _make_adapters(self):
        return self.outside


def interrupted(error, sent_at):
    """Return the orphans of a session whose loop is stopped by *error*, and goes on."""
    loop = asyncio.new_event_loop()
    sessions = []

    async def order():
        sessions.append(StruckSession(error, sent_at))
        await sessions[0].images.generate("a fox")

    ordering = loop.create_task(order())
    for _ in range(2):  # in the order's step, and in its caller's
        with pytest.raises(type(error)):
            loop.run_until_complete(asyncio.wait([ordering]))
    loop.run_until_complete(asyncio.wait([ordering]))
    assert ordering.exception() is error
    loop.run_until_complete(sessions[0].aclose())
    loop.close()
    return sessions[0].orphans


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_order_that_was_out_is_an_orphan(error):
    """What struck says nothing of the order: it is kept as of unknown fate."""
    (orphan,) = interrupted(error, EPOCH)

    assert isinstance(orphan, OutcomeUnknownError)
    assert orphan.charged is None
    assert orphan.request.path == "images/generations-sync"


def test_an_order_that_had_not_left_leaves_nothing():
    """Nothing was bought: there is nothing to keep."""
    assert interrupted(KeyboardInterrupt(), None) == ()
