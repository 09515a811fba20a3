"""
The emulator for your own tests; with pytest, as fixtures.

The fixtures need no import: ``apimodels_emulator``, ``apimodels_faults``,
``apimodels_record`` and ``apimodels_sync_session`` come with the package. Needs the
extra ``[testing]``.
"""

from typing import TYPE_CHECKING

from apimodels_async._io.lazy import lazy_names

if TYPE_CHECKING:
    from apimodels_async.testing.record import Order, Record, Request
    from apimodels_async.testing.scenarios import Faults
    from apimodels_async.testing.served import ServedEmulator, serve_emulator
else:
    # Lazy: pytest loads the plugin in this package in every run of anybody's tests.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "testing.record": ("Order", "Record", "Request"),
            "testing.scenarios": ("Faults",),
            "testing.served": ("ServedEmulator", "serve_emulator"),
        },
    )

__all__ = [
    "Faults",
    "Order",
    "Record",
    "Request",
    "ServedEmulator",
    "serve_emulator",
]
