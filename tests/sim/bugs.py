"""
Bugs to plant: each makes one invariant fail, and so shows that it can.

A bug stands between the library and the world, where its adapters are: to what is
above it looks like a library that does the wrong thing.
"""

from __future__ import annotations

import attrs
from sim.adapters import Failure, Kind, Phase, Reply, SimAdapters, SimClock
from sim.outside.faults import API_KEY, ECHO, refusal
from sim.outside.store import SimJournal

from apimodels_async.stores import Claim


class _Sends(SimAdapters):
    """A transport that does something of its own with each request."""

    def transport(self, *args, **options):
        pool = super().transport(*args, **options)
        self._send = pool.send
        self._polls = 0
        pool.send = self.send
        return pool

    async def send(self, request, sent):
        return await self._send(request, sent)


class BuysTwice(_Sends):
    """Sends every paid request again."""

    async def send(self, request, sent):
        answer = await self._send(request, sent)
        return await self._send(request, sent) if request.kind.paid else answer


class CallsItRefused(_Sends):
    """Takes an accepted order for one that was refused."""

    async def send(self, request, sent):
        answer = await self._send(request, sent)
        return refusal(400) if request.kind.paid else answer


class NeverAnswers(_Sends):
    """Waits for the answer to a paid request for ever."""

    async def send(self, request, sent):
        if request.kind.paid:
            await self._life.loop.create_future()
        return await self._send(request, sent)


class TellsTheKey(_Sends):
    """Puts the key into the reason of a failure."""

    async def send(self, request, sent):
        if request.kind.paid:
            return Failure(sent=False, phase=Phase.TLS, reason=f"Bearer {API_KEY}")
        return await self._send(request, sent)


class PassesEchoesOn(_Sends):
    """Lets the vendor repeat the key."""

    async def send(self, request, sent):
        if request.kind.paid:
            return refusal(401, said=f"{ECHO} {API_KEY}")
        return await self._send(request, sent)


class NamesAnother(_Sends):
    """Has another order's id in a broken answer."""

    async def send(self, request, sent):
        answer = await self._send(request, sent)
        if not request.kind.paid:
            return answer
        return Reply(200, {}, b'{"code":200,"data":{"taskId":"t0.0",')


class RaisesOthers(_Sends):
    """Lets an error of the system's through."""

    async def send(self, request, sent):
        if request.kind.paid:
            msg = "no route to host"
            raise OSError(msg)
        return await self._send(request, sent)


class MixesPictures(_Sends):
    """Hands out the picture of another."""

    async def send(self, request, sent):
        answer = await self._send(request, sent)
        if not isinstance(answer, Reply):
            return answer
        return attrs.evolve(answer, body=answer.body.replace(b".png", b".1.png"))


class GoesBack(_Sends):
    """Takes every third answer to a poll for an older one."""

    async def send(self, request, sent):
        answer = await self._send(request, sent)
        self._polls += request.kind is Kind.FREE
        if self._polls % 3 or b'"processing"' not in getattr(answer, "body", b""):
            return answer
        return attrs.evolve(answer, body=answer.body.replace(b"processing", b"pending"))


class ThrowsInACallback(_Sends):
    """Has a callback of the loop's that fails."""

    async def send(self, request, sent):
        self._life.loop.call_soon(int, "x")
        return await self._send(request, sent)


class Lingers(SimAdapters):
    """Leaves a task behind when the session closes."""

    def transport(self, *args, **options):
        pool = super().transport(*args, **options)
        loop = self._life.loop
        close = pool.aclose

        async def wait():
            await loop.create_future()

        async def aclose():
            await close()
            self._left = loop.create_task(wait(), name="apimodels-left")

        pool.aclose = aclose
        return pool


class SendsAfterwards(_Sends):
    """Makes one more request after the session has closed."""

    def transport(self, *args, **options):
        pool = super().transport(*args, **options)
        close, last = pool.aclose, []

        async def send(request, sent):
            last[:] = request, sent
            return await self._send(request, sent)

        async def aclose():
            await close()
            if last:
                await self._send(*last)

        pool.send, pool.aclose = send, aclose
        return pool


class HastyClock(SimAdapters):
    """Has a clock that runs twice as fast."""

    def clock(self):
        return _Fast(self._life)


class _Fast(SimClock):
    def time(self):
        return 2 * super().time()

    async def wait(self, event, until):
        await super().wait(event, None if until is None else until / 2)


class KeepsHalf(SimAdapters):
    """Keeps half of each file."""

    def sink(self, *args):
        sink = super().sink(*args)
        add = sink.add

        async def add_half(chunk):
            await add(chunk[: len(chunk) // 2])

        sink.add = add_half
        return sink


class RecordsNothing(SimAdapters):
    """Orders without writing that down first."""

    def journal(self, path):
        return _Blank(path, self._life, self._chance)


class _Blank(SimJournal):
    def claim(self, order, anew):
        """Say that it is written."""
        return Claim(granted=True, record=order.record(1, 0.0))


class _Seen(SimAdapters):
    """A session that users see through a pane."""

    def view(self, session):
        return _Pane(session, batch=self.batch)

    def batch(self, make, source, options):
        return make(source, **options)


class LosesOutcomes(_Seen):
    """Loses every second outcome of a batch."""

    def batch(self, make, source, options):
        return _Pane(make(source, **options), through=_every_second)


class IgnoresBudgets(_Seen):
    """Orders on when max_cost is reached."""

    def batch(self, make, source, options):
        return make(source, **{**options, "max_cost": None})


class ReadsAhead(_Seen):
    """Reads the whole source of a batch at once."""

    def batch(self, make, source, options):
        return make(list(source), **options)


class _Pane:
    def __init__(self, behind, *, batch=None, through=None):
        self._behind = behind
        self._batch = batch
        self._through = through

    def __getattr__(self, name):
        return getattr(self._behind, name)

    @property
    def images(self):
        images = _Pane(self._behind.images)
        if self._batch is not None:
            images.batch = lambda source, **options: self._batch(
                self._behind.images.batch, source, options
            )
        return images

    async def __aenter__(self):
        await self._behind.__aenter__()
        return self._through(self._behind)

    async def __aexit__(self, *error):
        return await self._behind.__aexit__(*error)


async def _every_second(outcomes):
    number = 0
    async for outcome in outcomes:
        number += 1
        if number % 2:
            yield outcome
