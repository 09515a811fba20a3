"""
One paid POST, cut at every byte of the request and of the answer, by FIN and by RST.
"""

from __future__ import annotations

import pytest
from soak.campaign import place
from soak.checker import Books, Intent, check
from soak.conftest import LONG
from support.proxy import ChaosProxy, Fault

from apimodels_async import OutcomeUnknownError

HEAD_EVERY, BODY_EVERY = (1, 1) if LONG else (5, 29)


def places(message):
    """Return where to cut *message*: everywhere around its blank line, seldom else."""
    head = message.index(b"\r\n\r\n")
    last = len(message) - 4
    body = range(head + 8, last, BODY_EVERY)
    around = range(head, head + 8)
    return [*range(0, head, HEAD_EVERY), *around, *body, *range(last, len(message))]


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("way", ["cut_up", "cut_down"])
@pytest.mark.parametrize("how", ["generate", "submit"])
async def test_a_paid_request_cut_anywhere_is_paid_once_and_told(
    emulator, connect, how, way, rst
):
    """Wherever the connection is cut, one POST was made and its fate is unknown."""
    async with ChaosProxy(emulator) as proxy:
        session = connect(proxy)
        whole = Intent(1000, how, "a fox intent-1000. end")
        await place(session, whole)
        post = next(one for one in proxy.requests if one.startswith(b"POST"))
        message = post if way == "cut_up" else proxy.answers[0]
        # Answers differ in length (the state of a task): counted from the end, every
        # place is within each of them.
        cuts = [place - len(message) for place in places(message)]
        proxy.schedule = {
            f"post {1001 + number}": Fault(way, at=cut, rst=rst)
            for number, cut in enumerate(cuts)
        }
        history = [
            Intent(1001 + number, how, f"a fox intent-{1001 + number}. end")
            for number in range(len(cuts))
        ]
        for intent in history:
            await place(session, intent)
        posts = proxy.posts
        await session.aclose()
    emulator.advance(60)
    books = Books.of(emulator)

    assert whole.fate == "returned"
    assert check([whole, *history], books) == []
    assert posts == len(history) + 1
    assert {type(intent.error) for intent in history} == {OutcomeUnknownError}
    if way == "cut_down":
        assert all(work.charged for work in books.works)
        assert len(books.works) == len(history) + 1
