"""A key that cannot be shown."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from support.cases import check_all
from support.sessions import KEY

from apimodels_async._secret import Secret


def test_a_secret_prints_as_nothing():
    """No way of printing a secret shows it."""

    def check(show):
        assert show(Secret(KEY)).strip("[]") == "<secret>"

    check_all(
        [repr, str, "{}".format, "{!r}".format, lambda secret: f"{[secret]}", ascii],
        check,
    )


def test_a_secret_is_not_pickled():
    """A secret does not leave the process by pickle."""

    def check(protocol):
        with pytest.raises(TypeError, match="a secret is not pickled or copied"):
            pickle.dumps(Secret(KEY), protocol)

    check_all(range(pickle.HIGHEST_PROTOCOL + 1), check)


def test_a_secret_is_not_copied_nor_compared():
    """A secret has no copy, no JSON, no attributes to list, and equals only itself."""
    secret = Secret(KEY)
    for travel in (copy.copy, copy.deepcopy, json.dumps, vars):
        with pytest.raises(TypeError):
            travel(secret)

    assert secret != Secret(KEY)
    assert secret != KEY


def test_a_secret_is_revealed_on_request():
    """The transport gets the key."""
    assert Secret(KEY).reveal() == KEY
