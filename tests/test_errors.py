"""One tree of errors, each with its facts, wherever it travels."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import traceback
from datetime import UTC, datetime

import pytest
from support.cases import check_all

from apimodels_async import errors
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    GenerationFailedError,
    InvalidRequestError,
    RateLimitError,
    RequestInfo,
    SessionClosedError,
)

INFO = RequestInfo(
    "POST", "images/edit", "0123456789abcdef", datetime(2026, 11, 23, tzinfo=UTC)
)
FACTS = {
    "task_id": "clx1",
    "status": 418,
    "code": 7,
    "request": INFO,
    "charged": True,
}
MORE = {
    InvalidRequestError: {"parameter": "prompt"},
    APIStatusError: {"retry_after": 1.5},
    GenerationFailedError: {"fail_message": "no", "fail_code": "TIMEOUT"},
    SessionClosedError: {"task_ids": ("clx1", "clx2")},
}
CLASSES = [
    value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type)
    and issubclass(value, ApiModelsError)
]

# design.md, "Charged": unknown on these; DownloadError is of a picture that was paid.
CHARGED = {
    "OutcomeUnknownError": None,
    "TaskTimeoutError": None,
    "TaskNotFoundError": None,
    "SessionClosedError": None,
    "DownloadError": True,
    "ResultExpiredError": True,
}


def full(cls):
    """Return an error of *cls* with every fact it can carry, and these facts."""
    facts = dict(FACTS)
    for kind, more in MORE.items():
        if issubclass(cls, kind):
            facts |= more
    return cls("a sentence", **facts), facts


def test_an_error_carries_its_facts():
    """Each error has the facts it was given, and its sentence as its text."""

    def check(cls):
        error, facts = full(cls)
        assert facts == {name: getattr(error, name) for name in facts}
        assert "a sentence" == str(error) == error.message

    check_all(CLASSES, check)


@pytest.mark.parametrize(
    "travel",
    [
        copy.copy,
        copy.deepcopy,
        lambda error: error.fresh(),
        *(
            lambda error, protocol=protocol: pickle.loads(  # noqa: S301  our own
                pickle.dumps(error, protocol)
            )
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
    ids=["copy", "deepcopy", "fresh"]
    + [f"pickle {number}" for number in range(pickle.HIGHEST_PROTOCOL + 1)],
)
def test_an_error_travels_whole(travel):
    """Copied or pickled, an error is of the same class and has all its facts."""

    def check(cls):
        error, facts = full(cls)
        twin = travel(error)
        assert error is not twin
        assert cls is type(twin)
        assert facts == {name: getattr(twin, name) for name in facts}
        assert twin.args == ("a sentence",)

    check_all(CLASSES, check)


def test_what_was_charged_is_known_unless_the_task_lives_on():
    """Without a word about it, charged is False, None or True by the kind of error."""

    def check(cls):
        assert CHARGED.get(cls.__name__, False) is cls("x").charged
        for charged in (True, False):
            assert charged is cls("x", charged=charged).charged

    check_all(CLASSES, check)


def test_a_traceback_says_whether_it_was_charged():
    """A note below every error says it, by what was known last; others follow."""
    words = {True: "charged", False: "not charged", None: "may have been charged"}

    def check(cls):
        error = cls("x")
        assert [words[CHARGED.get(cls.__name__, False)]] == error.__notes__
        for charged in (True, False, None):
            error.charged = charged
            shown = traceback.format_exception_only(error)
            assert shown[-1] == f"{words[charged]}\n"
        error.add_note("picture 2 of 3")
        assert error.fresh().__notes__ == [words[None], "picture 2 of 3"]
        assert error.__notes__ == copy.copy(error).__notes__

    check_all(CLASSES, check)


def test_the_interpreter_shows_it_too():
    """What ends a program says it in its last line."""
    code = "import apimodels_async; raise apimodels_async.OutcomeUnknownError('lost')"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert done.stderr.splitlines()[-2:] == [
        "apimodels_async.errors.OutcomeUnknownError: lost",
        "may have been charged",
    ]


def test_an_error_needs_no_facts():
    """An error can be made of nothing; its facts are then None."""

    def check(cls):
        error = cls()
        assert error.message == ""
        assert {None} == {error.task_id, error.status, error.code, error.request}

    check_all(CLASSES, check)


def test_a_message_may_be_missing():
    """An error whose arguments were taken away has an empty sentence."""
    error = ApiModelsError("x")
    error.args = ()

    assert error.message == ""


def test_an_error_is_caught_by_its_builtin_name():
    """Errors of values and of time are also Python's own."""
    cases = [
        ("ConfigurationError", {ValueError}),
        ("InvalidRequestError", {ValueError}),
        ("TransportTimeoutError", {TimeoutError, OSError, errors.TransportError}),
        ("TaskTimeoutError", {TimeoutError, OSError}),
        ("ConnectionFailedError", {errors.TransportError}),
        ("ResultExpiredError", {errors.DownloadError}),
        ("RateLimitError", {errors.APIStatusError}),
    ]

    def check(name, bases):
        mro = set(getattr(errors, name).__mro__) - {ApiModelsError, Exception}
        assert bases == {
            base
            for base in mro
            if base.__name__ not in {name, "BaseException", "object"}
        }

    check_all(cases, check)


def test_every_refusal_is_a_status_error():
    """What the API refuses by status is caught as APIStatusError."""
    cases = [
        "BadRequestError",
        "AuthenticationError",
        "InsufficientCreditsError",
        "PermissionDeniedError",
        "NotFoundError",
        "RateLimitError",
        "ServerError",
    ]

    def check(name):
        assert issubclass(getattr(errors, name), errors.APIStatusError)

    check_all(cases, check)


def test_every_error_is_exported():
    """Whatever error the module defines, it exports, and the root catches it."""
    defined = {value for value in vars(errors).values() if isinstance(value, type)}
    raised = {value for value in defined if issubclass(value, Exception)}

    assert raised == {*CLASSES}
    assert len(CLASSES) >= 24


def test_a_fresh_error_may_be_about_another_task():
    """One error told to many names each task; the original is not changed."""
    error = RateLimitError("slow", task_id="clx1", retry_after=2.0)
    twin = error.fresh(task_id="clx2")

    assert (twin.task_id, twin.retry_after) == ("clx2", 2.0)
    assert "clx1" == error.task_id == error.fresh().task_id


def test_a_fresh_error_keeps_its_cause_and_piles_up_nothing():
    """A copy has the cause of the original, and no traceback of earlier raises."""
    error = ApiModelsError("x")
    error.__cause__ = KeyError("why")
    for _ in range(3):
        try:
            raise error
        except ApiModelsError:
            twin = error.fresh()

    assert error.__cause__ is twin.__cause__
    assert None is twin.__traceback__
    assert len(traceback.extract_tb(error.__traceback__)) < 4


def test_a_request_info_shows_no_secret():
    """An error tells its request's method, path, digest, time and nonce, no more."""
    expected = {"method", "path", "digest", "sent_at", "nonce"}
    assert expected == {field.name for field in RequestInfo.__attrs_attrs__}
    assert pickle.loads(pickle.dumps(INFO)) == INFO  # noqa: S301  our own
