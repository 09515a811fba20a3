"""
The broker of a command: where it is, by option or environment.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Final

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async._core.files.object_urls import BUCKETS
from apimodels_async.cli.errors import BROKER_VARIABLE
from apimodels_async.stores import RedisStore

NONE: Final = "none"


def find_broker(given: str | None) -> str | None:
    """
    Return the address *given*, else that in ``APIMODELS_BROKER``; None: neither, or
    ``none``.

    Raises:
        ConfigurationError: It is none of a Redis server, or the extra is missing.
    """
    url = given if given is not None else os.environ.get(BROKER_VARIABLE) or NONE
    if url == NONE:
        return None
    if importlib.util.find_spec("streaq") is None:
        msg = (
            "workers need streaq, which is not installed; "
            "run: pip install 'apimodels-async[distributed]'"
        )
        raise ConfigurationError(msg)
    address_of(url)
    # It writes a traceback for each try to reach a server that is away; we say so once.
    logging.getLogger("coredis").setLevel(logging.CRITICAL)
    return url


def address_of(url: str) -> str:
    """
    Return *url* without user and password.

    Raises:
        ConfigurationError: It is no address of a Redis server.
    """
    try:
        return RedisStore(url).address
    except ConfigurationError as error:
        msg = f"the broker: {error.message}"
    raise ConfigurationError(msg)


def check_workers_reach(out: str) -> None:
    """
    Refuse a place for pictures that is of one machine.

    Raises:
        InvalidRequestError: Workers elsewhere would save to their own.
    """
    if out.partition("://")[0] not in BUCKETS:
        msg = f"--out: workers save to s3://, gs:// or az://, not to {out}"
        raise InvalidRequestError(msg, parameter="out")
