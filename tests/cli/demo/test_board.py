"""What the demo orders."""

from __future__ import annotations

from apimodels_async.cli.demo.board import REFUSED, demo_orders


def test_the_orders_are_as_many_as_asked_and_two_more():
    """Two orders are refused, and edits follow the picture they edit."""
    for count in (1, 2, 3, 13, 48, 500):
        orders = demo_orders(count)

        assert count + 2 == len(orders)
        assert sum(order.prompt == REFUSED for order in orders) == 2
        for at, order in enumerate(orders):
            if order.source is not None:
                assert order.source < at
                assert orders[order.source].model == "sparkpix-image"
                assert orders[order.source].prompt != REFUSED
