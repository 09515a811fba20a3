"""
How an outcome narrows. At run time it is one class; type checkers see two kinds of it:

    if outcome.error is None:
        print(outcome.result.url)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from apimodels_async import models

if TYPE_CHECKING:
    from attrs import frozen

    from apimodels_async.errors import ApiModelsError

    # Nobody makes one, so that they have no defaults.
    @frozen(eq=False, repr=False, kw_only=True)
    class CompletedOutcome(models.Outcome):
        """A picture was made and, with ``download_to``, saved."""

        request: models.AnyRequest
        result: models.ImageResult  # pyright: ignore[reportGeneralTypeIssues]
        error: None  # pyright: ignore[reportGeneralTypeIssues]

    @frozen(eq=False, repr=False, kw_only=True)
    class FailedOutcome(models.Outcome):
        """Something went wrong; with a result, a file of it could not be saved."""

        error: ApiModelsError  # pyright: ignore[reportGeneralTypeIssues]

    Outcome: TypeAlias = CompletedOutcome | FailedOutcome
    """How one item of a batch ended; ``error is None`` says that there is a result."""
else:
    Outcome = models.Outcome
    """How one item of a batch ended; ``error is None`` says that there is a result."""
