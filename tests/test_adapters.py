"""What a session is made of, where that depends on what is installed."""

from __future__ import annotations

import logging

import pytest
from aiohttp.streams import StreamReader
from support.sessions import KEY, PATIENT

from apimodels_async import Session
from apimodels_async._adapters import Adapters
from apimodels_async._io.client import AiohttpTransport
from apimodels_async._io.http.inside import is_known
from apimodels_async._io.wire import WireTransport


@pytest.fixture(autouse=True)
def forget():
    """Look again at what is installed, before and after."""
    is_known.cache_clear()
    yield
    is_known.cache_clear()


def transport():
    """Return the way to an API."""
    session = Session(KEY, base_url="http://127.0.0.1:9/v1", timeouts=PATIENT)
    return Adapters().transport(session._runtime.options)


async def test_requests_are_written_by_hand():
    """Over an aiohttp whose inside is known, and without a word."""
    made = transport()
    await made.aclose()
    assert isinstance(made, WireTransport)


async def test_an_unknown_aiohttp_is_used_as_it_wants(monkeypatch, caplog):
    """Its client does the work, one line says so; a part is hidden to get there."""
    caplog.set_level(logging.DEBUG, "apimodels_async")
    monkeypatch.delattr(StreamReader, "total_bytes")
    made = transport()
    await made.aclose()
    assert isinstance(made, AiohttpTransport)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("apimodels_async.transport", "INFO")
