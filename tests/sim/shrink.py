"""
From a run that fails to the shortest one that fails in the same way.

Delta debugging over the items of the plan (A. Zeller, 2002): drop what can be dropped,
in large pieces first. What has nothing to do with the order that was hurt goes at once.
"""

from __future__ import annotations

import time

from sim.invariants import GATING
from sim.plan import Actor, Fault, Leave, Order, Process
from sim.simulation import simulate


def violates(plan, name, **options):
    """Return whether *plan* breaks the invariant *name*."""
    found = simulate(plan, stop_at=name, **options).violations
    return any(violation.name == name for violation in found)


def shrink(plan, violation, seconds=30.0, **options):
    """
    Return the shortest plan found that breaks the same invariant.

    Args:
        seconds: Real time it may take; then the shortest so far is returned.
    """
    until = time.monotonic() + seconds

    def fails(items):
        return time.monotonic() < until and violates(items, violation.name, **options)

    if violation.order is not None:
        for near in _nearer(plan, violation.order):
            if fails(near):
                plan = near
                break
    return tuple(_minimise([*plan], fails))


def _nearer(plan, number):
    """Yield plans that hold less and less that is far from an order, shortest first."""
    (order,) = (each for each in plan if isinstance(each, Order) and _is(each, number))
    (actor,) = (a for a in plan if isinstance(a, Actor) and a.number == order.actor)
    siblings = {
        each.number
        for each in plan
        if isinstance(each, Order) and each.actor == order.actor
    }
    for orders in ({number}, siblings):
        yield tuple(each for each in plan if _touches(each, orders, actor))
    users = {a.number for a in plan if isinstance(a, Actor) and a.of == number}
    users.add(actor.number)
    yield tuple(each for each in plan if _concerns(each, number, users))


def _concerns(item, number, users):
    """Return whether an item may matter to an order, in whichever process."""
    match item:
        case Actor():
            return item.number in users
        case Order():
            return item.number == number
        case Fault():
            return item.order == number
        case Leave():
            return item.actor in users
    return True


def _is(order, number):
    return order.number == number


def _touches(item, orders, actor):
    match item:
        case Process():
            return item.number == actor.process
        case Actor():
            return item.number == actor.number
        case Order():
            return item.number in orders
        case Fault():
            return item.order in orders
        case Leave():
            return item.actor == actor.number
    return getattr(item, "process", actor.process) == actor.process


def _minimise(items, fails):
    pieces = 2
    while len(items) > 1:
        size = -(-len(items) // pieces)
        for start in range(0, len(items), size):
            rest = items[:start] + items[start + size :]
            if fails(tuple(rest)):
                items, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(items), pieces * 2)
    return items


def broken(report, *, everything=False):
    """Return the violations of a report that make it fail."""
    return [
        violation
        for violation in report.violations
        if everything or GATING[violation.name]
    ]
