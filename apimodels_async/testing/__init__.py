"""
The emulator for your own tests; with pytest, as fixtures.

The fixtures need no import: ``apimodels_emulator``, ``apimodels_faults``,
``apimodels_record`` and ``apimodels_sync_session`` come with the package. Needs the
extra ``[testing]``.
"""

from apimodels_async.testing.record import Order, Record, Request
from apimodels_async.testing.scenarios import Faults
from apimodels_async.testing.served import ServedEmulator, serve_emulator

__all__ = [
    "Faults",
    "Order",
    "Record",
    "Request",
    "ServedEmulator",
    "serve_emulator",
]
