"""
Callbacks: the API tells when a task has ended, and the session looks.
"""

from apimodels_async._io.relays import MemoryRelay, SocketRelay
from apimodels_async._ports import Hint, Relay
from apimodels_async.webhooks.callback import Callback
from apimodels_async.webhooks.receiver import Receiver

__all__ = ["Callback", "Hint", "MemoryRelay", "Receiver", "Relay", "SocketRelay"]
