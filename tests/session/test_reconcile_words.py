"""
Reconciling: what is said about a salvaged task id is the API's word, or nothing.
"""

from __future__ import annotations

import pytest
from support.raw import CREATED, RawServer, by_method, envelope, respond

from apimodels_async import (
    NotFoundError,
    OutcomeUnknownError,
    UnexpectedResponseError,
    Verdict,
)


async def lost(session):
    """Return the error of an order whose answer is cut behind its task id."""
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.images.submit("a moose", model="gpt-image-2")
    return caught.value


async def test_a_gateways_page_is_no_evidence(connect):
    """Its 404 does not turn the question into one of balances."""
    page = respond(b"<html>not here</html>", 404)
    answer = by_method(POST=respond(CREATED[:-9]), GET=page)
    async with RawServer(answer) as server:
        session = connect(server)
        with pytest.raises(NotFoundError):
            await session.reconcile(await lost(session))


async def test_a_task_without_a_picture_is_found(connect):
    """Completed without addresses it is there all the same, and charged."""
    done = respond(envelope({"taskId": "clraw1", "state": "completed"}))
    answer = by_method(POST=respond(CREATED[:-9]), GET=done)
    async with RawServer(answer) as server:
        session = connect(server)
        found = await session.reconcile(await lost(session))

        assert (found.verdict, found.task_id) == (Verdict.FOUND, "clraw1")
        assert "is charged" in found.reason


async def test_what_cannot_be_read_is_no_evidence(connect):
    """Rubbish instead of a status is raised."""
    answer = by_method(POST=respond(CREATED[:-9]), GET=respond(b"rubbish"))
    async with RawServer(answer) as server:
        session = connect(server)
        with pytest.raises(UnexpectedResponseError):
            await session.reconcile(await lost(session))
