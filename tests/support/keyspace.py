"""
A Redis server in memory, as far as a store asks for one: it runs the store's own script
in a real Lua, and its clock is whoever's that makes it.

What it writes goes into a log, command by command, as to an append-only file or to a
replica; another one that is told the same has the same.
"""

from __future__ import annotations

import hashlib
import time

import pytest
from redis.exceptions import NoScriptError, ResponseError

from apimodels_async.stores import RedisStore


def words_of(*words):
    """Return *words* as they are on the wire."""
    return tuple(map(as_bytes, words))


def as_bytes(word):
    """Return a word as it is on the wire."""
    if isinstance(word, bytes):
        return word
    return (repr(word) if isinstance(word, float) else str(word)).encode()


class Keyspace:
    """All keys of one server."""

    def __init__(self, clock):
        lua51 = pytest.importorskip("lupa.lua51", reason="needs lupa (a Lua)")
        self._clock = clock
        self._now = clock()
        self.data = {}
        self.expires = {}
        self.log = []
        """What was written and nobody took away: (time, words)."""
        self._scripts = {}
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._is_table = lambda value: lua51.lua_type(value) == "table"
        table = self._lua.table_from
        self._lua.globals()[b"redis"] = table(
            {
                b"call": self._call,
                b"pcall": self._call,
                b"error_reply": lambda words: table({b"err": words}),
            }
        )

    def execute(self, *words):
        """Carry out one command, as one step; return its answer, or an error."""
        self._now = self._clock()
        try:
            return self._do(words_of(*words))
        except ResponseError as error:
            return error

    def apply(self, log):
        """Carry out what another one wrote."""
        for self._now, words in log:
            self._do(words)
        self.log.clear()

    def take_over(self, other):
        """Have what *other* has, and nothing else."""
        self.data = {
            key: dict(value) if isinstance(value, dict) else value
            for key, value in other.data.items()
        }
        self.expires = dict(other.expires)
        self.log.clear()

    def forget_scripts(self):
        """Know no script, as a server that has started."""
        self._scripts.clear()

    def _do(self, words):
        name = words[0].decode().lower().replace(" ", "_")
        answer = getattr(self, f"do_{name}")(*words[1:])
        if name in WRITES:
            self.log.append((self._now, words))
        return answer

    # --- Lua

    def _call(self, *words):
        return self._to_lua(self._do(words_of(*words)))

    def _to_lua(self, value):
        if value is None:
            return False
        if isinstance(value, list):
            return self._lua.table_from([self._to_lua(each) for each in value])
        return value

    def _from_lua(self, value):
        if self._is_table(value):
            if value[b"err"] is not None:
                raise ResponseError(value[b"err"].decode())
            found = []
            while (each := value[len(found) + 1]) is not None:
                found.append(self._from_lua(each))
            return found
        if value is None or value is False:
            return None
        return int(value) if isinstance(value, float | bool) else value

    def do_script(self, word, text):
        assert word == b"LOAD"
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
        self._scripts[digest] = self._lua.compile(text)
        return digest

    def do_evalsha(self, digest, count, *words):
        script = self._scripts.get(digest)
        if script is None:
            msg = "NOSCRIPT No matching script. Please use EVAL."
            raise NoScriptError(msg)
        names = self._lua.globals()
        names[b"KEYS"] = self._lua.table_from(words[: int(count)])
        names[b"ARGV"] = self._lua.table_from(words[int(count) :])
        return self._from_lua(script())

    # --- keys

    def _get(self, key, kind=None):
        """Return what is there, or an empty one of *kind* that is not there."""
        if self.expires.get(key, self._now) < self._now:
            del self.data[key], self.expires[key]
        return self.data.get(key, kind and kind())

    def _put(self, key, value):
        if value or isinstance(value, bytes):
            self.data[key] = value
        else:
            self.do_del(key)

    def do_time(self):
        return [b"%d" % int(self._now), b"%d" % (self._now % 1 * 1e6)]

    def do_exists(self, key):
        return int(self._get(key) is not None)

    def do_del(self, key):
        self.expires.pop(key, None)
        return int(self.data.pop(key, None) is not None)

    def do_get(self, key):
        return self._get(key)

    def do_set(self, key, value, *options):
        if b"NX" in options and self._get(key) is not None:
            return None
        self.data[key] = value
        self.expires.pop(key, None)
        if b"EX" in options:
            seconds = float(options[options.index(b"EX") + 1])
            self.expires[key] = self._now + seconds
        return True

    def do_expire(self, key, seconds, only):
        assert only == b"GT"
        until = self._now + float(seconds)
        later = self._get(key) is not None and self.expires.get(key, until) < until
        if later:
            self.expires[key] = until
        return int(later)

    def do_persist(self, key):
        return int(self.expires.pop(key, None) is not None)

    # --- hashes and sets

    def do_hget(self, key, field):
        return self._get(key, dict).get(field)

    def do_hmget(self, key, *fields):
        return [self._get(key, dict).get(each) for each in fields]

    def do_hgetall(self, key):
        return [each for pair in self._get(key, dict).items() for each in pair]

    def do_hset(self, key, *pairs):
        found = self._get(key, dict)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._put(key, found)
        return len(pairs) // 2

    def do_hsetnx(self, key, field, value):
        if field in self._get(key, dict):
            return 0
        return self.do_hset(key, field, value)

    def do_hincrby(self, key, field, step):
        value = int(self._get(key, dict).get(field, 0)) + int(step)
        self.do_hset(key, field, b"%d" % value)
        return value

    def _remove(self, key, members):
        found = self._get(key, dict)
        count = sum(found.pop(each, None) is not None for each in members)
        self._put(key, found)
        return count

    def do_hdel(self, key, *fields):
        return self._remove(key, fields)

    def do_sadd(self, key, member):
        self._put(key, {**self._get(key, dict), member: b""})

    def do_srem(self, key, member):
        return self._remove(key, [member])

    def do_smembers(self, key):
        return sorted(self._get(key, dict))

    # --- sorted sets

    def _sorted(self, key):
        found = self._get(key, dict)
        return sorted(found, key=lambda member: (found[member], member))

    def do_zadd(self, key, score, member):
        self._put(key, {**self._get(key, dict), member: float(score)})

    def do_zrem(self, key, member):
        return self._remove(key, [member])

    def do_zscore(self, key, member):
        score = self._get(key, dict).get(member)
        return None if score is None else repr(score).encode()

    def do_zpopmin(self, key):
        first = self._sorted(key)[:1]
        self._remove(key, first)
        return [*first, b"0"] if first else []

    def do_zremrangebyscore(self, key, low, high):
        return self._remove(key, self._between(key, low, high))

    def do_zremrangebyrank(self, key, first, last):
        return self._remove(key, self._sorted(key)[int(first) : int(last) + 1])

    def do_zrange(self, key, first, last, *options):
        if not options:
            return self._sorted(key)[int(first) : int(last) + 1]
        if b"REV" in options:
            first, last = last, first
        if b"BYSCORE" in options:
            found = self._between(key, first, last)
        else:
            found = [
                each
                for each in self._sorted(key)
                if _is_above(each, first) and each <= last[1:]
            ]
        if b"REV" in options:
            found.reverse()
        if b"LIMIT" in options:
            at = options.index(b"LIMIT")
            start, count = int(options[at + 1]), int(options[at + 2])
            found = found[start : start + count]
        return found

    def _between(self, key, low, high):
        found = self._get(key, dict)

        def fits(score):
            lower, upper = float(low.lstrip(b"(")), float(high.lstrip(b"("))
            above = score > lower if low[:1] == b"(" else score >= lower
            below = score < upper if high[:1] == b"(" else score <= upper
            return above and below

        return [each for each in self._sorted(key) if fits(found[each])]


def _is_above(member, low):
    return member > low[1:] if low[:1] == b"(" else member >= low[1:]


WRITES = {
    *("del", "expire", "hdel", "hincrby", "hset", "hsetnx", "persist", "sadd", "set"),
    *("srem", "zadd", "zpopmin", "zrem", "zremrangebyrank", "zremrangebyscore"),
}


class InMemory:
    """A connection to a keyspace that nothing ever happens to."""

    def __init__(self, keyspace, **settings):
        self._keyspace = keyspace
        self._settings = {"appendfsync": "always", **settings}

    async def send(self, commands):
        """See ``Connection``."""
        return [self.answer(*each) for each in commands]

    def answer(self, *words):
        """Return the answer to one command, as redis-py has it."""
        match words[0]:
            case "INFO":
                return {"aof_enabled": 1, "maxmemory_policy": "noeviction"}
            case "CONFIG GET":
                return self._settings
            case "WAITAOF":
                return [1, 0]
            case "WAIT":
                return 0
        return self._keyspace.execute(*words)

    async def aclose(self):
        """See ``Connection``."""


class StoreInMemory(RedisStore):
    """A store on such a server: what every store promises shows that it is one."""

    def __init__(self, **options):
        super().__init__("redis://memory.example", **options)
        self._keyspace = Keyspace(time.time)

    def _connect(self):
        return InMemory(self._keyspace)
