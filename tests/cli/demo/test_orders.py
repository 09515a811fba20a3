"""What the demo orders."""

from __future__ import annotations

from apimodels_async._api.catalogue import SPARKPIX_IMAGE
from apimodels_async.cli.demo.orders import REFUSED, demo_orders


def test_the_orders_are_as_many_as_asked_and_two_more():
    """Two orders are refused, and edits follow the picture they edit."""
    for count in (1, 2, 3, 13, 48, 500):
        orders = demo_orders(count)

        assert list(orders) == list(range(1, count + 3))
        assert sum(order.prompt == REFUSED for order in orders.values()) == 2
        for number, order in orders.items():
            if order.source is not None:
                assert order.source < number
                assert orders[order.source].model == SPARKPIX_IMAGE
                assert orders[order.source].prompt != REFUSED
