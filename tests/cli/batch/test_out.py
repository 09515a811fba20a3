"""Options that say where a batch puts things."""

from __future__ import annotations

from pathlib import Path

import pytest

from apimodels_async import InvalidRequestError
from apimodels_async.cli.batch.out import BatchOut, choose_folder


def test_prompts_from_stdin_need_a_folder():
    """There is no file that it could be beside."""
    with pytest.raises(InvalidRequestError, match="for the journal: --folder"):
        choose_folder(Path("-"), BatchOut(out="s3://bucket/deck"), None)
