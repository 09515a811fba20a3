"""
A Redis server that fails: it is cut off, hangs, is away, crashes, and fails over.

Theory of operation: what it has is a keyspace that runs the store's own script. A
second one has what outlives a crash (the disk) or a failover (the replica), and is told
what the first one wrote when that is due: so what is forgotten are whole transactions,
the last ones. Requests and answers take time; a request is carried out in one step, but
for what a cut leaves of it: its first commands, or all of it, long after its sender has
given up.
"""

from __future__ import annotations

import math
from random import Random

from redis import exceptions
from sim import adapters
from support.keyspace import InMemory, Keyspace, words_of

SILENCE_S = 8.0
"""After which redis-py takes a connection for broken."""
WAY_S = 0.004
SLOW_SHARE = 0.01
SLOW_S = 9.0
LATE_S = 25.0
"""After which a request that was cut off may arrive yet: TCP tries again for longer."""
FAULTS = ("lost", "silent", "part", "unanswered", "late")
LATE_DISK_SHARE = 0.01
DEMOTED_SHARE = 0.3
LOADING_SHARE = 0.3
LOADING_S = 2.0


class Request:
    """Commands on their way, and who waits for the answers."""

    def __init__(self, life, commands):
        self.life, self.commands = life, commands
        self.done = life.loop.create_future()

    def end(self, answers, error=None):
        """Let the sender have the answers, if it is still there."""
        loop = self.life.loop
        if not loop.dead:
            loop.call_soon(self._end, answers, error)

    def _end(self, answers, error):
        if self.done.done():
            return
        if error is None:
            self.done.set_result(answers)
        else:
            self.done.set_exception(error)


class SimConnection:
    """The way of one process to the server."""

    def __init__(self, life, server):
        self._life, self._server = life, server

    async def send(self, commands):
        """See ``Connection``."""
        request = Request(self._life, tuple(commands))
        self._server.take(request)
        return await request.done

    async def aclose(self):
        """See ``Connection``."""


class SimServer(InMemory):
    """The server, its disk and its replica, and the way to it."""

    def __init__(self, site, settings):
        self.settings = settings
        self._site, self._world = site, site.world
        super().__init__(Keyspace(self._seconds), appendfsync=settings.flush)
        self._chance = Random(settings.seed)
        self._copy = Keyspace(self._seconds)
        self._told = []
        """What the copy was not told: when, what was written, and by which call."""
        self._sure = 0
        """Of these the first that a replica has said it has."""
        self._trouble = None
        """Why nobody is answered: away, hangs, loads or demoted."""
        self._held = []
        """Requests that came as it hung."""
        self._life = 0
        """Counts what cut all connections."""

    def _seconds(self):
        now = self._world.now + self._site.skews[None]
        return adapters.utc(now).timestamp()

    @property
    def keeps(self):
        """Return the kinds of outage over which what was durable is kept."""
        kept = {"cut", "away", "hangs"}
        if self.settings.flush == "always" or self.settings.waits:
            kept.add("crash")
        if self.settings.replicas:
            kept.add("failover")
        return kept

    # --- requests

    def take(self, request):
        """Take a request on its way."""
        chance, now = self._chance, self._world.now
        slow = SLOW_S if chance.random() < SLOW_SHARE else WAY_S
        fault = None
        if chance.random() < self.settings.trouble:
            fault = chance.choice(FAULTS)
            self._site.weather.struck[f"redis {fault}"] += 1
        at = now + slow * chance.random()
        self._world.at(at, self._arrive, request, fault, self._life)
        error = exceptions.TimeoutError("no answer")
        self._world.at(now + SILENCE_S, request.end, None, error)

    def _arrive(self, request, fault, life):
        if self._trouble == "hangs":
            self._held.append(request)
        elif self._trouble == "away" or fault in {"lost", "late"} or life != self._life:
            self._break(request)
            if fault == "late":
                later = self._world.now + LATE_S * self._chance.random()
                self._world.at(later, self._arrive_late, request, self._life)
        elif fault != "silent":
            self._carry_out(request, fault)

    def _arrive_late(self, request, life):
        if life == self._life and self._trouble is None:
            self._carry_out(request, "unanswered")

    def _break(self, request):
        request.end(None, exceptions.ConnectionError("connection lost"))

    def _carry_out(self, request, fault):
        commands = request.commands
        if fault == "part":
            commands = commands[: self._chance.randrange(len(commands) + 1)]
        answers = [self.answer(*each) for each in commands]
        ready = self._world.now
        if commands and commands[-1][0] in {"WAITAOF", "WAIT"} and not fault:
            ready = self._when_durable()
            self._world.at(ready, self._is_durable, len(self._told), self._life)
        if fault is not None:
            self._break(request)
            return
        at = ready + WAY_S * self._chance.random()
        self._world.at(at, self._answer, request, answers, self._life)

    def _answer(self, request, answers, life):
        if self._trouble in {"hangs", "away"} or life != self._life:
            if self._trouble != "hangs":
                self._break(request)
        else:
            request.end(answers)

    def answer(self, *words):
        """Return the answer to one command."""
        if self._trouble == "loads":
            return exceptions.BusyLoadingError("Redis is loading the dataset in memory")
        if self._trouble == "demoted":
            return exceptions.ReadOnlyError("that is a replica by now")
        match words[0]:
            case "WAITAOF" if not self.settings.waits:
                return exceptions.ResponseError("unknown command 'WAITAOF'")
            case "WAITAOF":
                late = self._chance.random() < LATE_DISK_SHARE
                return [0 if late else 1, self.settings.replicas]
            case "WAIT":
                return self.settings.replicas
        answer = super().answer(*words)
        script = words[0] == b"EVALSHA" and not isinstance(answer, Exception)
        call = words_of(*words[6:]) if script else ()
        if self._keyspace.log:
            log, self._keyspace.log = self._keyspace.log, []
            self._told.append((self._world.now, log, call, answer))
        if script:
            self._site.audit.keys.server.did(call, answer)
        return answer

    # --- what is kept

    def _when_durable(self):
        """Return when the disk has what was written by now, and the replica."""
        now, settings = self._world.now, self.settings
        received = now + self._chance.random() if settings.replicas else now
        is_asked = settings.flush == "everysec" and settings.waits
        return max(received, math.ceil(now)) if is_asked else received

    def _is_durable(self, count, life):
        if life == self._life and self.settings.replicas:
            self._sure = max(self._sure, count)

    def strike(self, outage):
        """Let something happen to it."""
        kind = outage.kind
        if self._trouble is not None:
            return
        self._site.audit.note("redis", kind, f"{outage.forgets:.3f}")
        self._site.weather.struck[f"redis {kind}"] += 1
        if kind in {"crash", "failover"}:
            self._forget(kind, outage.forgets)
        if kind != "hangs":
            self._life += 1
        if kind != "cut":
            demoted = kind == "failover" and self._chance.random() < DEMOTED_SHARE
            self._trouble = "demoted" if demoted else "away"
            if kind == "hangs":
                self._trouble = kind
            self._world.at(self._world.now + outage.seconds, self._come_back, kind)

    def _forget(self, kind, seconds):
        now = self._world.now
        if kind == "failover":
            until = now - seconds
        else:
            until = now if self.settings.flush == "always" else math.floor(now)
        kept = sum(when <= until for when, *_ in self._told)
        if kind == "failover":
            kept = max(kept, self._sure)
        for _, log, _, _ in self._told[:kept]:
            self._copy.apply(log)
        lost = [(when, call, answer) for when, _, call, answer in self._told[kept:]]
        self._told, self._sure = [], 0
        self._keyspace.take_over(self._copy)
        self._keyspace.forget_scripts()
        self._site.audit.keys.server.lost(lost, kept=kind in self.keeps)

    def _come_back(self, kind):
        self._trouble = None
        if kind in {"crash", "failover"} and self._chance.random() < LOADING_SHARE:
            self._trouble = "loads"
            seconds = LOADING_S * self._chance.random()
            self._world.at(self._world.now + seconds, self._come_back, "loading")
        held, self._held = self._held, []
        for request in held:
            # Its connection is there yet, or the answer goes nowhere.
            fault = self._chance.choice((None, "unanswered", "part"))
            self._carry_out(request, fault)

    # --- looking in

    def read(self, kind, name):
        """Return what is under one of the store's names."""
        return self._keyspace.data.get(f"{{apimodels}}:{kind}:{name}".encode(), {})

    def attempt_of(self, idempotency_key):
        """Return the number of the attempt that a key names, or None."""
        for name, value in self._keyspace.data.items():
            if name.startswith(b"{apimodels}:current:"):
                found = value.get(idempotency_key.encode())
                if found is not None:
                    return int(found)
        return None

    def leases(self):
        """Return until when each owner counts as alive, in seconds."""
        found = self._keyspace.data.get(b"{apimodels}:owners", {})
        return {owner.decode(): until for owner, until in found.items()}
