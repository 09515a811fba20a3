"""Whether this aiohttp is one that requests are written over by hand."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader

from apimodels_async._io.http.inside import is_known

# The only patching there is: no aiohttp is at hand that is built otherwise.
HIDDEN = [
    (ResponseHandler, "set_response_params"),
    (ResponseHandler, "start_timeout"),
    (ResponseHandler, "closed"),
    (StreamReader, "_buffer"),
    (Connection, "release"),
    (aiohttp.BaseConnector, "connect"),
]


@pytest.fixture(autouse=True)
def forget():
    """Look again, before and after."""
    is_known.cache_clear()
    yield
    is_known.cache_clear()


def test_the_installed_one_is_known():
    """All of its inside that is used is there."""
    assert is_known()


@pytest.mark.parametrize(("kind", "name"), HIDDEN)
def test_one_without_a_part_is_not(monkeypatch, kind, name):
    """Each part is looked for; here it is hidden, which is the one patch allowed."""
    monkeypatch.delattr(kind, name)
    assert not is_known()


def test_one_that_is_called_otherwise_is_not(monkeypatch):
    """Nor one whose functions want other arguments: patched, as none is at hand."""

    async def connect(self, request):
        """Take one argument where aiohttp takes three."""

    monkeypatch.setattr(aiohttp.BaseConnector, "connect", connect)
    assert not is_known()
