"""
A complete fake of the image API on a loopback socket, for tests and demos.

It is a second, independent reading of the API documentation and imports
nothing from the rest of the package.
"""

from apimodels_async.emulator.faults.faults import Fault
from apimodels_async.emulator.server import Emulator
from apimodels_async.emulator.service.values import EmulatedTask, RequestRecord

__all__ = ["EmulatedTask", "Emulator", "Fault", "RequestRecord"]
