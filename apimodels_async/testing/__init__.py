"""
The emulator for your own tests; with pytest, as fixtures.

The fixtures need no import: ``apimodels_emulator``, ``apimodels_faults``,
``apimodels_record`` and ``apimodels_sync_session`` come with the package. Needs the
extra ``[testing]``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apimodels_async.testing.record import Order, Record, Request
    from apimodels_async.testing.scenarios import Faults
    from apimodels_async.testing.served import ServedEmulator, serve_emulator

# Lazy: pytest loads the plugin in this package in every run of anybody's tests.
_HOMES = {
    "Faults": "scenarios",
    "Order": "record",
    "Record": "record",
    "Request": "record",
    "ServedEmulator": "served",
    "serve_emulator": "served",
}

__all__ = [
    "Faults",
    "Order",
    "Record",
    "Request",
    "ServedEmulator",
    "serve_emulator",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
