"""What an HTTP client is told of an error, and the session of a web application."""

from __future__ import annotations

import json
import logging

import pytest
from support.batches import TASK
from support.cases import check_all
from support.sessions import make_session
from support.waiting import until

from apimodels_async import (
    ApiModelsError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    GenerationFailedError,
    InsufficientCreditsError,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResultExpiredError,
    ServerError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportTimeoutError,
    UnexpectedResponseError,
    errors,
)
from apimodels_async.integrations.web import answer_to, log_error, open_session
from apimodels_async.stores import MemoryStore, OrderState

SECRET = "http://user:hunter2@10.0.0.7/ sk_live_123 /srv/orders.sqlite"
AWAY = "the store is away"
KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


def test_an_error_has_the_status_that_fits():
    """Each class has its status; what may be sent again after a while says when."""
    cases = [
        (InvalidRequestError("prompt= is empty", parameter="prompt"), 400, None),
        (BadRequestError("no"), 400, None),
        (InsufficientCreditsError("no"), 402, "300"),
        (BudgetExceededError("no"), 402, None),
        (TaskNotFoundError("no"), 404, None),
        (ResultExpiredError("no"), 410, None),
        (GenerationFailedError("no"), 422, None),
        (RateLimitError("no"), 429, "5"),
        (RateLimitError("no", retry_after=0.2), 429, "1"),
        (RateLimitError("no", retry_after=299.5), 429, "300"),
        (ConfigurationError("no"), 500, None),
        (OutcomeUnknownError("no"), 502, None),
        (DownloadError("no"), 502, None),
        (UnexpectedResponseError("no"), 502, None),
        (ConnectionFailedError("no"), 503, "30"),
        (TransportTimeoutError("no"), 503, "30"),
        (AuthenticationError("no"), 503, "30"),
        (PermissionDeniedError("no"), 503, "30"),
        (NotFoundError("no"), 503, "30"),
        (ServerError("no", retry_after=7), 503, "7"),
        (APIStatusError("no"), 503, "30"),
        (JournalError("no"), 503, "30"),
        (SessionClosedError("no", charged=False), 503, "30"),
        (SessionClosedError("no"), 502, None),
        (TaskTimeoutError("no", task_id="clx1"), 504, None),
    ]

    def check(error, status, wait):
        answer = answer_to(error)

        assert answer.status == status
        assert answer.headers.get("Retry-After") == wait
        assert answer.body["error"] == type(error).__name__.removesuffix("Error")
        assert answer.body["task_id"] == error.task_id
        assert answer.body["repeat"] is (error.charged is False)
        assert json.loads(json.dumps(answer.body)) == answer.body

    check_all(cases, check)


def test_nothing_that_may_be_paid_for_invites_to_repeat():
    """Unless nothing was charged there is no 429, no 503 and no Retry-After."""

    def check(kind, charged):
        error = kind("no")
        error.charged = charged
        answer = answer_to(error)

        assert answer.status not in {429, 503}
        assert answer.headers == {}
        assert (answer.body["charged"], answer.body["repeat"]) == (charged, False)

    check_all([(kind, charged) for kind in KINDS for charged in (None, True)], check)


def test_a_client_is_told_what_it_can_mend_and_no_more(caplog):
    """Its input and its picture are told as they are; all else is for the log."""
    told = {InvalidRequestError, BadRequestError, GenerationFailedError}

    def check(kind):
        error = kind(SECRET)
        answer = answer_to(error)
        caplog.clear()
        log_error(error, answer)

        assert (SECRET in answer.body["message"]) is (kind in told)
        (record,) = caplog.records
        assert SECRET in record.getMessage()
        assert str(answer.status) in record.getMessage()

    with caplog.at_level(logging.INFO, "apimodels_async.web"):
        check_all([(kind,) for kind in KINDS], check)
    refused = InvalidRequestError("no", parameter="prompt")
    assert answer_to(refused).body["parameter"] == "prompt"


async def test_what_a_dead_process_left_is_seen_to_its_end(emulator, tmp_path):
    """With *recover* an order nobody asks for again gets its end into the store."""
    store = tmp_path / "orders.sqlite"
    async with make_session(emulator, store=store) as before:
        await before.images.submit("a moose", model=TASK, idempotency_key="k")

    def make():
        return make_session(emulator, store=store)

    async with open_session(make, recover=True) as session:

        async def ended():
            record = await session.find("k")
            return record is not None and record.state is OrderState.COMPLETED

        while not await ended():
            await until(lambda: session.stats().completed)
    assert len(emulator.tasks) == 1


async def test_trouble_while_recovering_is_logged(emulator, caplog):
    """An order that failed, one that stays in the store, and a store that is away."""

    class Troubled(MemoryStore):
        away = False

        async def recover(self, scope, owner):
            if self.away:
                raise JournalError(AWAY)
            return await super().recover(scope, owner)

        async def handed_over(self, attempt):
            raise JournalError(AWAY)

    store = Troubled()

    async def recovered_until(*words):
        def make():
            return make_session(emulator, store=store)

        async with open_session(make, recover=True):
            await until(lambda: all(word in caplog.text for word in words))

    async with make_session(emulator, store=store) as before:
        prompt = "a moose [refused]"
        await before.images.submit(prompt, model=TASK, idempotency_key="k")
    emulator.advance(1000)

    await recovered_until("order k: the generation failed", "order k comes again: ")
    store.away = True
    await recovered_until("nothing is recovered now: ")


async def test_without_a_store_there_is_nothing_to_recover(emulator):
    """It is said when the application starts, before anybody is served."""
    with pytest.raises(ConfigurationError, match="has no store"):
        async with open_session(lambda: make_session(emulator), recover=True):
            pytest.fail("it started")


async def test_an_application_that_fails_closes_its_session(emulator):
    """However the body ends, its error comes through and the session is closed."""
    session = make_session(emulator)

    async def serve():
        async with open_session(lambda: session):
            msg = "the body's"
            raise ApiModelsError(msg)

    with pytest.raises(ApiModelsError, match="the body's"):
        await serve()
    with pytest.raises(SessionClosedError):
        await session.balance()
