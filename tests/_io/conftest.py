"""The ways to the API that a transport test goes, one after the other."""

from __future__ import annotations

import pytest
import trustme
from support.transports import WAYS, Way


@pytest.fixture(scope="session")
def authority():
    """Return an authority that the transports of tests trust."""
    return trustme.CA()


@pytest.fixture(params=WAYS)
def way(request, authority):
    """Return a transport, over a plain socket or over TLS."""
    return Way(request.param, authority)
