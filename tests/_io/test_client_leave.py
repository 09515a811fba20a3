"""The leave to send an order, looked at in the very step of sending."""

from __future__ import annotations

from support.raw import RawServer, by_method, respond

from apimodels_async import ImageRequest
from apimodels_async._api import calls
from apimodels_async._ports import Failure, Reply, Sent


class Leave:
    """A leave that is held, or not."""

    def __init__(self, *, held):
        self.held = held


async def test_an_order_without_leave_is_not_sent(connect):
    """Not one byte of it arrives, it counts as never sent, and says why."""
    async with RawServer(by_method(POST=respond())) as server:
        transport = connect(server)._runtime.open().transport
        request = calls.create(ImageRequest("gpt-image-2", "a moose")).request
        sent = Sent(leave=Leave(held=False))
        failure = await transport.send(request, sent)
        assert server.received == []
        held = Sent(leave=Leave(held=True))
        answer = await transport.send(request, held)

    assert isinstance(failure, Failure)
    assert (failure.sent, sent.at) == (False, None)
    assert "ran out before it could be sent" in failure.reason
    assert isinstance(answer, Reply)
    assert held.at is not None
    assert len(server.received) == 1
