"""The key and the prompts stay where they belong: defences seen from the wire."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import gc
import itertools
import json
import logging
import pickle
import ssl

import aiohttp
import pytest
import trustme
from soak.campaign import error_texts, listening
from soak.checker import leaks
from support.cases import check_all, check_all_at_once
from support.raw import CUTS, REFUSALS, RawServer, envelope, message, raw, respond
from support.sessions import KEY, patience
from support.tls import certificate

from apimodels_async import (
    ApiModelsError,
    ConfigurationError,
    ConnectionFailedError,
    GenerationFailedError,
    OutcomeUnknownError,
    RetryPolicy,
    Session,
    Timeouts,
    UnexpectedResponseError,
)

PROMPT = "moonlit-canary-prompt"
CALLS = {
    "generate": lambda session: session.images.generate(PROMPT),
    "submit": lambda session: session.images.submit(PROMPT, model="gpt-image-2"),
    "edit": lambda session: session.images.edit(
        PROMPT, images=["https://files.example/canary.png"]
    ),
    "balance": lambda session: session.balance(),
}


async def error_of(call):
    """Return the library's error that a call ends in."""
    with pytest.raises(ApiModelsError) as caught:
        await call
    return caught.value


# --- the key is in no text ---------------------------------------------------------

ONCE = RetryPolicy(attempts=1)
FAULTS = CUTS | {
    str(status): respond(envelope(None, status), status) for status in REFUSALS
}
# aiohttp logs nothing with headers, but a future version might.
LOGGERS = ("apimodels_async", "aiohttp", "asyncio")


def texts(error, *, local=True):
    """Return everything an error can be turned into, local variables on demand."""
    return [*error_texts(error, local=local), repr(error.args)]


async def test_no_error_shows_the_key_or_the_prompt(connect, caplog):
    """Whatever goes wrong: not in error, chain, traceback, locals, pickle or log."""
    caplog.set_level(logging.DEBUG)
    for logger in LOGGERS:
        caplog.set_level(logging.DEBUG, logger)

    errors = []

    async def check(name, answer):
        async with RawServer(answer) as server:
            session = connect(server, timeouts=patience(name), retry=ONCE)
            handle = session.images.attach("clx1")
            calls = (
                session.images.submit(PROMPT, model="x"),
                session.images.generate(PROMPT),
                session.balance(),
                handle.result(timeout=0.1),
            )
            ended = await asyncio.gather(*calls, return_exceptions=True)
            await session.aclose()
            assert all(KEY in one.headers["authorization"] for one in server.received)
        found = [(name, one) for one in ended if isinstance(one, BaseException)]
        assert found
        errors.extend(found)

    def shows_nothing(_name, error):
        assert isinstance(error, ApiModelsError)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert leaks(texts(error), KEY) == []
        assert leaks(texts(error, local=False), PROMPT) == []
        assert KEY not in pickle.dumps(error).decode("latin-1")

    await check_all_at_once(FAULTS.items(), check)
    check_all(errors, shows_nothing)  # slow, and nothing waits for it
    logged = "".join(repr(vars(record)) for record in caplog.records)
    assert KEY not in caplog.text + logged
    assert PROMPT not in caplog.text + logged


async def test_the_key_is_in_no_text_of_a_session(emulator, connect):
    """Neither repr, str, format, vars nor pickle of our objects shows the key."""
    session = connect(emulator)
    await session.balance()
    handle = await session.images.submit(PROMPT, model="gpt-image-2")
    await handle
    texts = [
        repr(session),
        str(session),
        f"{session}",
        repr(vars(session)),
        repr(handle),
    ]
    for thing in gc.get_objects():
        home = str(type(thing).__module__)
        if home.startswith("apimodels_async.") and ".emulator" not in home:
            texts.append(repr(thing))
    for packed in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            packed(session)

    assert len(texts) > 20
    assert leaks(texts, KEY) == []
    assert KEY not in handle.to_token()


# --- where the key goes ------------------------------------------------------


REDIRECTS = (301, 302, 303, 307, 308)


async def test_no_redirect_is_followed(connect):
    """Neither key nor prompt goes where a redirect points; nothing is sent twice."""
    async with RawServer() as thief:
        port = thief.origin.rpartition(":")[2]
        targets = (
            "/api/v1/elsewhere",
            f"{thief.origin}/x",
            f"http://127.0.0.1@127.0.0.1:{port}/x",
            f"https://127.0.0.1:{port}/x",
        )

        async def check(call, status, target):
            async with RawServer(respond(b"", status, Location=target)) as server:
                error = await error_of(CALLS[call](connect(server)))

                paid = call != "balance"
                kind = OutcomeUnknownError if paid else UnexpectedResponseError
                assert type(error) is kind
                assert error.status == status
                assert len(server.received) == 1

        await check_all_at_once(itertools.product(CALLS, REDIRECTS, targets), check)

        away = respond(b"", 307, Location=f"{thief.origin}/x")
        async with RawServer(away) as server:
            handle = connect(server).images.attach("clx1")
            with pytest.raises(ApiModelsError):
                await handle.result(timeout=0.1)
        assert thief.connections == 0


# --- TLS ------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """Return a certificate authority that this process trusts by environment."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def bad_certificates(authority):
    """Return TLS settings by what is wrong with them."""
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return {
        "untrusted": certificate(trustme.CA()),
        "wrong name": certificate(authority, "elsewhere.example"),
        "expired": certificate(authority, not_after=past),
    }


async def test_a_bad_certificate_gets_nothing(connect, authority):
    """Not a byte of a request goes to a peer whose certificate is bad; one try."""

    async def check(call, wrong):
        async with RawServer(ssl=bad[wrong]) as server:
            url = server.base_url.replace("127.0.0.1", "localhost")
            session = connect(server, base_url=url)
            error = await error_of(CALLS[call](session))
            await session.aclose()

        assert type(error) is ConnectionFailedError
        assert error.charged is False
        assert "certificate" in str(error)
        assert server.received == []
        assert leaks(error_texts(error, local=True), KEY) == []

    bad = bad_certificates(authority)
    with listening() as logged:
        await check_all_at_once(itertools.product(CALLS, bad), check)
    assert leaks(logged, KEY) == []


async def test_verification_cannot_be_switched_off():
    """There is no option to do without, in any of the usual spellings."""
    for name in ("verify", "verify_ssl", "insecure"):
        with pytest.raises(TypeError):
            Session(KEY, **{name: False})

    blind, nameless = ssl.create_default_context(), ssl.create_default_context()
    nameless.check_hostname = blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    for given in (False, True, "ca.pem", blind, nameless):
        with pytest.raises(ConfigurationError, match="ssl= "):
            Session(KEY, ssl=given)
    for given in (False, blind, nameless):  # nor by a connector that is lent
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=given)
        ) as http:
            with pytest.raises(ConfigurationError, match="connector of http= must"):
                Session(KEY, http=http)


# --- what a hostile answer can cost --------------------------------------


async def test_a_trickle_is_cut_off(connect):
    """A head that comes a byte at a time ends with the total timeout."""

    async def trickle(_request, peer):
        for byte in message():
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.05)

    async with RawServer(trickle) as server:
        session = connect(server, timeouts=Timeouts(connect=1, read=0.3, generate=0.4))
        error = await error_of(CALLS["submit"](session))

        assert type(error) is OutcomeUnknownError


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
async def test_an_encoded_answer_is_not_unpacked(connect, encoding):
    """We ask for identity; anything else is refused unread."""
    packed = raw(message(b"\x1f\x8b\x08\x00", Content_Encoding=encoding))
    async with RawServer(packed) as server:
        error = await error_of(connect(server).balance())

        assert type(error) is UnexpectedResponseError
        assert server.received[0].headers["accept-encoding"] == "identity"


# --- what the API says is shown escaped ----------------------------------------

EVIL = "\x1b]0;owned\x07\u202e\r\nINFO fake line \u2028<script>\x9b2J\x00"
CONTROLS = "\x1b\x07\u202e\r\n\u2028\x9b\x00"


def said(**fields):
    """Return a body whose every field is hostile."""
    body = {"code": 400, "msg": EVIL, "data": None, **fields}
    return json.dumps(body).encode()


HOSTILE = {
    "message": (400, {}),
    "error": (400, {"msg": None, "error": {"message": EVIL}}),
    "failMsg": (400, {"data": {"failMsg": EVIL}}),
    "task id": (200, {"code": 200, "data": {"taskId": EVIL, "state": "pending"}}),
    "state": (200, {"code": 200, "data": {"taskId": "cl1", "state": EVIL}}),
    "url": (200, {"code": 200, "data": {"url": EVIL}}),
    "failed": (
        200,
        {
            "code": 200,
            "data": {
                "taskId": "cl1",
                "state": "failed",
                "failMsg": EVIL,
                "failCode": EVIL,
            },
        },
    ),
}


@pytest.mark.parametrize("field", HOSTILE)
async def test_control_characters_are_escaped_in_every_text(connect, field):
    """No error, repr, state or log line carries what could move a cursor."""
    status, fields = HOSTILE[field]
    texts = []
    with listening() as logged:
        async with RawServer(respond(said(**fields), status)) as server:
            session = connect(server)
            for call in ("submit", "generate"):
                try:
                    handle = await CALLS[call](session)
                    texts += [repr(handle), getattr(handle, "state", "")]
                    await handle.result(timeout=0.1)
                except GenerationFailedError as error:
                    texts += [str(error), error.fail_message, error.fail_code]
                except ApiModelsError as error:
                    texts.append(str(error))
            await session.aclose()
    ours = [text for text in logged if "canary" not in text]

    assert texts
    for text in texts + [line.partition(" (")[0] for line in ours]:
        assert not set(text) & set(CONTROLS), ascii(text)


# --- environment, cookies --------------------------------------------------


async def test_the_environment_redirects_nothing(connect, tmp_path, monkeypatch):
    """Proxy variables and .netrc change neither the way nor the headers."""
    async with RawServer() as thief:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, thief.origin)
            monkeypatch.setenv(name.lower(), thief.origin)
        netrc = tmp_path / "netrc"
        netrc.write_text("default login canary password canary-netrc\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        async with RawServer(respond(envelope({"balance": 1.0}))) as server:
            await connect(server).balance()

            (request,) = server.received
            assert request.headers["authorization"] == f"Bearer {KEY}"
            assert thief.connections == 0


async def test_cookies_are_not_kept(connect):
    """What Set-Cookie says is sent back by no later request."""
    answer = respond(envelope({"balance": 1.0}), Set_Cookie="spy=1; Path=/")
    async with RawServer(answer) as server:
        session = connect(server)
        for _ in range(3):
            await session.balance()

        assert [one.headers.get("cookie") for one in server.received] == [None] * 3


async def test_a_lying_server_takes_no_more_than_was_ordered(connect):
    """Answered 500 for ever, twenty orders are twenty POSTs, all of unknown fate."""
    async with RawServer(respond(envelope(None, 500), 500)) as server:
        session = connect(server)
        errors = await asyncio.gather(
            *(error_of(CALLS["generate"](session)) for _ in range(20))
        )

        assert len(server.posts) == 20
        assert {type(error) for error in errors} == {OutcomeUnknownError}
        assert session.stats().unknown == 20
