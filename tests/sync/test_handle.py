"""A batch of the synchronous session whose caller is interrupted."""

from __future__ import annotations

import pytest

from apimodels_async.sync.handle import Batch


class Portal:
    """Calls nothing, is interrupted once, and says what it was asked for."""

    def __init__(self, error):
        self._errors = [error]
        self.asked = []

    def call(self, function, *_args, **_options):
        """Take down what is called."""
        self.asked.append(function)
        if self._errors:
            raise self._errors.pop()


class Inner:
    """An asynchronous batch by name only."""

    async def __aenter__(self):
        """Is entered."""

    async def __aexit__(self, *_):
        """Is left."""

    async def _give_up(self):
        """Is left by nobody."""


def batch_of(error):
    """Return a batch, and the portal that is interrupted by *error*."""
    portal = Portal(error)
    return Batch(Inner(), portal), portal


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_interrupted_while_it_is_entered_it_is_given_up(error):
    """What no with statement will leave is left at once."""
    batch, portal = batch_of(error)
    with pytest.raises(type(error)):
        batch.__enter__()

    names = [each.__name__ for each in portal.asked]
    assert names == ["__aenter__", "_give_up"]


def test_a_refused_entering_gives_nothing_up():
    """A second entering is a mistake that ends no batch."""
    batch, portal = batch_of(ValueError())
    with pytest.raises(ValueError):  # noqa: PT011
        batch.__enter__()

    assert len(portal.asked) == 1


def test_interrupted_while_it_is_left_it_is_left():
    """A Ctrl-C within the leaving does not leave it running."""
    batch, portal = batch_of(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        batch.__exit__(None, None, None)

    assert [each.__name__ for each in portal.asked] == ["__aexit__", "__aexit__"]
