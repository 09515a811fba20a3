"""
The emulator in a thread of its own, beside whatever loop a test has, or none.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._secret import hidden_options
from apimodels_async.errors import ConfigurationError
from apimodels_async.testing.record import Record
from apimodels_async.testing.scenarios import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from decimal import Decimal

    from anyio.from_thread import BlockingPortal

    from apimodels_async import sync
    from apimodels_async.emulator import Emulator
    from apimodels_async.session import Session

SPEED: Final = 50.0
INTERVAL_S: Final = 0.05
"""Between two polls of a task: 2.5 s at fifty times the speed."""


class ServedEmulator:
    """
    A running emulator, for the thread of the test. Made by ``serve_emulator``.

    Its calls take microseconds and may be made inside a running event loop.
    """

    def __init__(
        self, portal: BlockingPortal, emulator: Emulator, poll_interval: float
    ) -> None:
        self._portal = portal
        self._emulator = emulator
        self._poll_interval = poll_interval
        self._record = Record(self._look, time.monotonic())
        self._faults = Faults(self._look)
        self._ended = False

    @property
    def base_url(self) -> str:
        """What a session takes as its base URL."""
        return self._emulator.base_url

    @property
    def api_key(self) -> str:
        """The one key that is accepted; no secret."""
        return self._emulator.api_key

    @property
    def environment(self) -> Mapping[str, str]:
        """
        The variables that bring any ``Session()`` here, in this process or another.
        """
        return {
            "APIMODELS_BASE_URL": self.base_url,
            "APIMODELS_API_KEY": self.api_key,
            "APIMODELS_POLL_INTERVAL": str(self._poll_interval),
        }

    @property
    def faults(self) -> Faults:
        """What is to go wrong."""
        return self._faults

    @property
    def record(self) -> Record:
        """What was asked."""
        return self._record

    @property
    def balance(self) -> Decimal:
        """What the account can spend, US dollars."""
        balance: Decimal = self._look(lambda emulator: emulator.balance)
        return balance

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: running work, file expiry."""
        self._look(lambda emulator: emulator.advance(seconds))

    def session(self, **options: Any) -> Session:
        """
        Return a session for this emulator, to be used as ``async with``.

        Args:
            options: Those of ``Session``.
        """
        from apimodels_async.session import Session

        options = hidden_options(options)  # a frame that raises shows locals
        return Session(**self._options(options))

    def sync_session(self, **options: Any) -> sync.Session:
        """
        Return a synchronous session for this emulator, to be used as ``with``.

        Args:
            options: Those of ``sync.Session``.
        """
        from apimodels_async.sync import Session

        options = hidden_options(options)  # a frame that raises shows locals
        return Session(**self._options(options))

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        from apimodels_async.policies import PollPolicy

        polling = PollPolicy.unchecked(interval=self._poll_interval)
        here = {"base_url": self.base_url, "api_key": self.api_key, "polling": polling}
        return here | given

    def _look(self, at: Callable[[Emulator], Any]) -> Any:
        if self._ended:
            return at(self._emulator)
        # In the emulator's thread: what it holds belongs to its loop.
        return self._portal.call(at, self._emulator)

    def _end(self) -> None:
        """Let what was asked be looked at also after the emulator has ended."""
        self._ended = True

    def __repr__(self) -> str:
        return f"<ServedEmulator {self.base_url}>"


@contextmanager
def serve_emulator(
    *, speed: float = SPEED, poll_interval: float = INTERVAL_S, **options: Any
) -> Iterator[ServedEmulator]:
    """
    Serve the API on a loopback socket for the body, from a thread of its own.

    Args:
        speed: How many times as fast as the real service pictures are made.

        poll_interval: Seconds between two polls of a task, by the sessions that it
            makes and those that find it through ``ServedEmulator.environment``.

        options: Those of ``Emulator``: credits, seed, service_times, ...

    Raises:
        ConfigurationError: Pillow, with which the emulator draws, is not installed.
    """
    try:
        import PIL  # noqa: F401  the emulator would miss it only when it draws
    except ImportError:
        msg = (
            "the emulator draws with Pillow, which is not installed; "
            "run: pip install 'apimodels-async[testing]'"
        )
        raise ConfigurationError(msg) from None
    from anyio.from_thread import start_blocking_portal

    from apimodels_async.emulator import Emulator

    emulator = Emulator(speed=speed, **options)
    with (
        start_blocking_portal(name="apimodels-emulator") as portal,
        portal.wrap_async_context_manager(emulator),
    ):
        served = ServedEmulator(portal, emulator, poll_interval)
        try:
            yield served
        finally:
            served._end()  # noqa: SLF001  of this module
