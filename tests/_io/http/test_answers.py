"""Answers under way: which come whole with their head, and which take too long."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from support.virtual_time import virtual_time

from apimodels_async._io.http.answers import Answer, Watch

ENOUGH = 1000


anyio_backend = virtual_time


def arriving(content, *, whole=True):
    """Return a connection, and a body of which *content* has come over it."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    payload = StreamReader(protocol, ENOUGH, loop=loop)
    payload.feed_data(content)
    if whole:
        payload.feed_eof()
    return payload, protocol


class Transport:
    """Counts how often it is cut."""

    cut = 0

    def abort(self):
        """Count it."""
        self.cut += 1


async def test_a_small_body_is_taken_with_its_head():
    """What is whole, small and in time is had at once; nothing else is touched."""
    answer = Answer()
    assert answer.take(*arriving(b"whole"), ENOUGH)
    assert answer.body == b"whole"

    late, reset = Answer(), arriving(b"reset")
    late.late = True
    reset[1].set_exception(OSError("reset"))
    refused = [
        (Answer(), arriving(b"half", whole=False), ENOUGH),
        (Answer(), arriving(b"too much"), 3),
        (late, arriving(b"late"), ENOUGH),
        (Answer(), reset, ENOUGH),
    ]
    for each, arrived, limit in refused:
        assert not each.take(*arrived, limit)
        assert each.body == b""


async def test_a_late_body_is_not_whole():
    """Without a length it ends as if it were, when its connection is cut."""
    answer = Answer()
    answer.late = True
    with pytest.raises(TimeoutError):
        await answer.read(*arriving(b"half"), ENOUGH)

    assert answer.body == b"half"


async def test_one_timer_looks_at_all_answers():
    """Each is cut when its own time is over, and none that has ended."""
    watch, pipes = Watch(10), [Transport() for _ in range(4)]
    answers = [Answer() for _ in pipes]
    for answer, pipe in zip(answers, pipes, strict=True):
        watch.begin(answer, pipe)
        await asyncio.sleep(1)
    answers[1].ended = True
    await asyncio.sleep(6.5)  # the first one's time is over, the third one's is not
    assert [pipe.cut for pipe in pipes] == [1, 0, 0, 0]
    await asyncio.sleep(2)
    assert [pipe.cut for pipe in pipes] == [1, 0, 1, 0]
    answers[3].ended = True
    await asyncio.sleep(20)  # nobody is left to look at

    later = Answer()
    watch.begin(later, pipes[3])
    watch.close()
    await asyncio.sleep(20)
    assert [pipe.cut for pipe in pipes] == [1, 0, 1, 0]
    assert (later.late, answers[0].late) == (False, True)


async def test_a_watch_forgets_answers_that_have_ended():
    """They are dropped as new ones come, and closing an idle watch is nothing."""
    watch, pipe = Watch(10), Transport()
    watch.close()
    for _ in range(5):
        answer = Answer()
        watch.begin(answer, pipe)
        answer.ended = True
    assert len(watch._answers) == 1
    await asyncio.sleep(30)

    assert pipe.cut == 0
