"""
The suite notices bugs: three are planted here, all of them by ``mutants.py``.
"""

from __future__ import annotations

import pytest
from chaos.mutants import CI, MUTANTS, plant, try_out


@pytest.mark.parametrize("name", CI)
def test_a_planted_bug_is_caught(name):
    """With the bug in a copy of the package, a test of this folder fails."""
    assert try_out(name)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_bug_can_still_be_planted(name, tmp_path):
    """The line each bug changes is still in the package, once."""
    plant(name, tmp_path)
