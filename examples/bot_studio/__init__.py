"""What both bots share: orders that survive a restart, limits, and plain words."""

from bot_studio.limits import LimitError, Limits
from bot_studio.orders import Order, Orders
from bot_studio.studio import Desk, Studio
from bot_studio.words import MODELS, RATIOS, explain

__all__ = [
    "MODELS",
    "RATIOS",
    "Desk",
    "LimitError",
    "Limits",
    "Order",
    "Orders",
    "Studio",
    "explain",
]
