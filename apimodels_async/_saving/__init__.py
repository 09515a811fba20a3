"""Pictures of results to files: where they go, and how they get there."""

from apimodels_async._saving.places import ObjectPlace, Provenance, Target
from apimodels_async._saving.saver import Saver, result_now

__all__ = ["ObjectPlace", "Provenance", "Saver", "Target", "result_now"]
