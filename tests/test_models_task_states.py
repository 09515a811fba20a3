"""
Words for states, also those that are not known yet.
"""

from __future__ import annotations

import copy
import pickle

import pytest

from apimodels_async import TaskEvent, TaskState

WORDS = ["pending", "completed", "moderating", "a b", "x" * 64]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_survives_pickle_and_copy(word):
    """By value, whatever Python pickles enums by: members stay the same object."""
    state = TaskState(word)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert state.__reduce_ex__(protocol) == (TaskState, (word,))
        again = pickle.loads(pickle.dumps(state, protocol))  # noqa: S301
        assert (type(again), again, again.value) == (TaskState, word, word)
    assert copy.deepcopy(state) == copy.copy(state) == state
    assert (TaskState(word) is state) == (word in {"pending", "completed"})


def test_an_event_with_a_new_word_survives_pickle():
    """So does what holds one."""
    event = TaskEvent(TaskState("moderating"), "clx1", None)
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301
