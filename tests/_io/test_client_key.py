"""
The key stays out of what others show: answers that repeat it, frames that raise.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from functools import partial
from pathlib import Path

import pytest
from support.cases import check_all

import apimodels_async
from apimodels_async import PollPolicy, RetryPolicy, Session, Timeouts, sync
from apimodels_async._secret import Secret
from apimodels_async.emulator import Emulator
from apimodels_async.errors import ApiModelsError
from apimodels_async.integrations.redis import RedisLimit, RedisRelay
from apimodels_async.integrations.streaq import (
    OrderQueue,
    WorkerProcess,
    order_worker,
)
from apimodels_async.stores import (
    RedisStore,
    SqliteStore,
    find_order,
    forget_order,
    read_history,
)
from apimodels_async.testing import serve_emulator
from apimodels_async.webhooks import Callback

KEY = "sk_canary/77fe1b+Z"
HOOK = "https://app.example.com"
LONG = "canary-of-a-callback-secret-0123456789"
WORD = "canary-of-a-password"
BLANK = f"{KEY} x"
GIVEN = {"api_key": KEY, "proxy": f"http://u:{WORD}@h"}

ECHOES = {
    "plain": KEY.encode(),
    "JSON's slash": KEY.replace("/", "\\/").encode(),
    "JSON's escapes": KEY.replace("k", "\\u006b").replace("Z", "\\u005A").encode(),
    "in a URL": b"sk_canary%2F77fe1b%2BZ",
}


def test_an_answer_that_repeats_the_key_is_masked():
    """However it is spelt, JSON stays JSON and the key is not in it."""
    secret = Secret(KEY)

    def check(echo):
        masked = secret.mask(b'{"msg":"you sent %b, twice: %b"}' % (echo, echo))
        assert json.loads(masked)["msg"] == "you sent ***, twice: ***"

    check_all([*ECHOES.values(), ECHOES["JSON's escapes"]], check)


def test_what_does_not_repeat_it_stays_the_same_object():
    """Nearly every answer: looked through, not copied."""
    body = b'{"code":200,"data":{"taskId":"clx1","state":"pending"}}'
    assert Secret(KEY).mask(body) is body


def test_a_word_of_the_answers_is_no_key():
    """Something as short as ``code`` is not masked: every answer would break."""
    assert Secret("code").mask(b'{"code":200}') == b'{"code":200}'


def told_of(make):
    """Return all that is told of how *make* fails, the library's locals included."""
    with pytest.raises((ApiModelsError, TypeError, ValueError)) as caught:
        run(make())
    told = traceback.TracebackException(
        type(caught.value),
        caught.value,
        library(caught.value.__traceback__),
        capture_locals=True,
    )
    text = "".join(told.format())
    assert "repr() failed" not in text
    return text


def run(made):
    """Run what is not refused before it is awaited."""
    asyncio.run(made if inspect.iscoroutine(made) else anext(made))


def library(trace):
    """Return *trace* from the first frame that is the library's on."""
    while HERE not in Path(trace.tb_frame.f_code.co_filename).parents:
        trace = trace.tb_next
    return trace


HERE = Path(apimodels_async.__file__).parent
REDIS, BROKEN = f"redis://:{WORD}@127.0.0.1:1/0", f"redis://:{WORD}@[::1"
FOLDED = Path(f"redis://:{WORD}@h/0")
SOCKS, SITE = f"socks5://u:{WORD}@h", f"https://u:{WORD}@h/api"
BAD_SESSIONS = (
    *({"base_url": "http://api.example.org/v1"}, {"max_polls": 0}, {"api_key": BLANK}),
    *({"api_key": KEY.encode()}, {"base_url": SITE}, {"proxy": SOCKS}, {"limit": 5}),
)
BAD_STORES = ({"store": BROKEN}, {"store": FOLDED}, {"store": "a\0b"})
BAD_WORKERS = (
    *({"url": BROKEN}, {"queue": 5}, {"pending": 0}, {"concurrency": 0}),
    *({"idle_timeout": 0}, {"grace_period": -1}, {"save_to": 5}, {"pendng": 3}),
    {"store": REDIS},
)
ASKED = (
    *({"store": BROKEN}, {"store": FOLDED}, {"base_url": SITE}),
    {"store": f"redi://{WORD}"},
)
WAYS = [
    *((Session, GIVEN, bad) for bad in (*BAD_SESSIONS, *BAD_STORES)),
    *((sync.Session, GIVEN, bad) for bad in (*BAD_SESSIONS, *BAD_STORES)),
    *((order_worker, {"url": REDIS} | GIVEN, bad) for bad in BAD_SESSIONS),
    *((order_worker, {"url": REDIS} | GIVEN, bad) for bad in BAD_WORKERS),
    *(
        (WorkerProcess, {"url": REDIS, "options": GIVEN}, bad)
        for bad in ({"options": GIVEN | each} for each in BAD_SESSIONS)
    ),
    *(
        (WorkerProcess, {"url": REDIS, "options": GIVEN}, bad)
        for bad in BAD_WORKERS[:7]
    ),
    *(
        (OrderQueue, {"url": REDIS}, bad)
        for bad in ({"url": BROKEN}, {"queue": 5}, {"proxy": SOCKS}, {"base_url": SITE})
    ),
    *(
        (ask, {"store": REDIS, "idempotency_key": "k"}, bad)
        for ask in (find_order, forget_order)
        for bad in (*ASKED, {"idempotency_key": ""})
    ),
    *((read_history, {"store": REDIS}, bad) for bad in (*ASKED, {"state": "no"})),
    *(
        (make, {"url": REDIS}, bad)
        for make in (RedisStore, partial(RedisStore.unchecked, lease_s=1))
        for bad in ({"url": BROKEN}, {"replicas": -1})
    ),
    *(
        (make, {"url": REDIS}, bad)
        for make in (RedisLimit, partial(RedisLimit.unchecked, lease_s=1))
        for bad in ({"url": BROKEN}, {"pending": 0}, {"name": 5})
    ),
    *((RedisRelay, {"url": REDIS}, bad) for bad in ({"url": BROKEN}, {"name": 5})),
    *(
        (make, {}, {"path": path})
        for make in (SqliteStore, partial(SqliteStore.unchecked, lease_s=1))
        for path in (REDIS, FOLDED, "a\0b")
    ),
    *(
        (Callback, {"url": HOOK, "secret": LONG}, bad)
        for bad in (
            *({"url": "app.example.com"}, {"url": SITE}, {"interval": 0}),
            *({"patience": "x"}, {"secret": LONG[:20]}),
        )
    ),
    (PollPolicy, {}, {"interval": 0}),
    (RetryPolicy, {}, {"attempts": 0}),
    (Timeouts, {}, {"read": 0}),
    (Emulator, {}, {"credits": "x"}),
]


def test_a_call_that_is_refused_shows_no_secret():
    """No key, password or callback secret, in words or in locals of our frames."""

    def check(make, given, bad):
        shown = told_of(lambda: make(**given | bad))
        assert not [each for each in (KEY, WORD, LONG[:20]) if each in shown]

    check_all(WAYS, check)


def test_a_served_emulator_s_session_shows_none():
    """Nor does one that a test makes."""
    with serve_emulator() as served:
        for make in (served.session, served.sync_session):
            assert WORD not in told_of(partial(make, proxy=SOCKS))


def test_a_key_in_the_environment_is_not_shown(monkeypatch):
    """As one that is given."""
    monkeypatch.setenv("APIMODELS_API_KEY", f"{KEY} x")
    assert KEY not in told_of(Session)
