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

    @frozen(eq=False, repr=False, kw_only=True)
    class CompletedOutcome(models.Outcome):
        """A picture was made and, with ``download_to``, saved."""

        request: models.AnyRequest
        result: models.ImageResult
        error: None

    @frozen(eq=False, repr=False, kw_only=True)
    class FailedOutcome(models.Outcome):
        """Something went wrong; with a result, a file of it could not be saved."""

        error: ApiModelsError

    Outcome: TypeAlias = CompletedOutcome | FailedOutcome
else:
    Outcome = models.Outcome
