"""What passes through the queue comes out as it went in."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from support.cases import check_all

from apimodels_async import (
    ApiModelsError,
    DownloadError,
    GenerationFailedError,
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    RateLimitError,
    SparkPixEdit,
    SparkPixImage,
    UnexpectedResponseError,
    errors,
)
from apimodels_async._api import requests
from apimodels_async._core.money.digests import digest_of
from apimodels_async.integrations.streaq.jobs import (
    Answer,
    dump_answer,
    dump_error,
    dump_request,
    job_id,
    load_answer,
    load_error,
)

RESULT = ImageResult(
    urls=("https://a.b/c.png",), task_id="clx1", credits=Decimal("0.03"), raw={"a": 1}
)
INLINE = ImageResult(urls=("data:image/png;base64," + "QUJD" * 400,))


def through(value):
    """Return *value* as the broker has it."""
    return json.loads(json.dumps(value))


def test_a_request_is_the_same_order_at_the_other_end():
    """Whatever its kind, its digest is that of the request that was put."""
    asked = [
        SparkPixImage(prompt="a fox", width=512, height=512, extra={"new": [1.0]}),
        SparkPixImage(prompt="a fox", callback_url="https://a.b/c", seed=3),
        SparkPixEdit(prompt="at sunset", images=("https://a.b/c.png",), turbo=True),
        ImageRequest("gpt-image-2", "a moose", {"resolution": "2K"}, {"seeed": 1}),
        ImageRequest("brand-new", "a moose", {"size": "1024x1024"}),
    ]

    def check(request):
        sent = requests.encode(request)
        body = through(dump_request(sent, requests.model_of(request)))
        come = requests.encode(requests.read_request(body))
        assert come.path == sent.path
        digests = [digest_of(each.path, json.loads(each.body)) for each in (sent, come)]
        assert digests[0] == digests[1]

    check_all(asked, check)


def test_every_error_says_the_same_at_the_other_end():
    """Its kind, its words, and what it knows of task, status and money."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    kinds = [each for each in kinds if isinstance(each, type)]

    def check(kind):
        if not issubclass(kind, ApiModelsError):
            return
        error = kind("it failed", task_id="clx1", status=429, code=7)
        error.charged, error.idempotency_key = None, "msg1"
        found = load_error(through(dump_error(error)))
        assert type(found) is kind
        assert str(found) == str(error)
        assert vars(found) == vars(error)

    check_all(kinds, check)
    told = [
        GenerationFailedError("no", fail_message="policy", fail_code="MODERATION"),
        RateLimitError("slow", retry_after=3.0),
        InvalidRequestError("bad", parameter="seed"),
    ]

    def compare(error):
        assert vars(load_error(through(dump_error(error)))) == vars(error)

    check_all(told, compare)


def test_an_error_of_a_later_release_is_an_error():
    """Its words are there, and what it knows of money."""
    found = load_error({"kind": "os", "message": "new", "charged": True})

    assert type(found) is ApiModelsError
    assert (str(found), found.charged) == ("new", True)


def test_answers_come_as_they_were():
    """A result with its files, and one whose file could not be saved."""
    saved = Answer.of("k", RESULT, paths=["s3://a/b.png"], tries=3, kept_in="there")
    unsaved = Answer.of("k", RESULT, trouble=DownloadError("full", task_id="clx1"))
    saved, unsaved = (load_answer(through(dump_answer(e))) for e in (saved, unsaved))

    assert saved.unwrap() == RESULT
    assert (saved.paths, saved.tries, saved.kept_in) == (("s3://a/b.png",), 3, None)
    assert (saved.task_id, saved.cost) == ("clx1", Decimal("0.03"))
    assert unsaved.unwrap() == RESULT
    assert str(unsaved.error) == "full"
    with pytest.raises(DownloadError, match="gone"):
        Answer.of("k", DownloadError("gone")).unwrap()


def test_pictures_stay_out_of_the_broker():
    """One that was sent inline is named, and where its content is."""
    kept = through(dump_answer(Answer.of("k", INLINE, kept_in="there")))
    saved = through(dump_answer(Answer.of("k", INLINE, paths=["x"], kept_in="there")))
    alone = through(dump_answer(Answer.of("k", INLINE)))

    assert len(json.dumps([kept, saved])) < 1500
    assert [kept["kept_in"], saved["kept_in"]] == ["there", None]
    assert load_answer(alone).unwrap() == INLINE


@pytest.mark.parametrize(
    "damage", [{}, {"state": "?"}, {"result": {"urls": []}}, {"paths": None}]
)
def test_an_answer_that_cannot_be_read_is_an_error(damage):
    """It may be paid for: it is no refusal."""
    found = through(dump_answer(Answer.of("k", RESULT))) | damage
    if not damage:
        del found["state"]
    with pytest.raises(UnexpectedResponseError) as caught:
        load_answer(found)
    assert caught.value.charged is None


def test_what_is_no_error_and_no_answer_is_told():
    """A kind that is no error of ours, and an answer of nothing."""
    found = load_error({"kind": "CHARGED", "message": "new", "charged": None})
    assert type(found) is ApiModelsError
    with pytest.raises(ValueError, match="has a result or an error"):
        Answer(idempotency_key="k", state="completed").unwrap()


def test_a_key_has_one_job():
    """Put twice it is one; another one has its own."""
    assert job_id("a") == job_id("a") != job_id("b")
    assert len(job_id("ä" * 255)) == 32
