"""
How long an order is waited for: by what the model may answer, not by its path.
"""

from __future__ import annotations

from support.cases import check_all

from apimodels_async import ImageRequest, known_models
from apimodels_async._api.requests import encode
from apimodels_async._ports import Kind

MODELS = {
    "gpt-image-2": Kind.CREATE,
    "kling-image-gen/kling-v3-image": Kind.CREATE,
    "gpt-image-2-lite": Kind.GENERATE,
    "gpt-image-2-all": Kind.GENERATE,
    "a-model-of-tomorrow": Kind.GENERATE,
}


def test_what_may_be_the_picture_itself_has_the_time_of_a_picture():
    """Only models that are known to answer with a task are given up after *read*."""

    def check(model, kind):
        assert encode(ImageRequest(model, "a moose")).kind is kind

    check_all(MODELS.items(), check)


def test_no_synchronous_model_is_said_to_answer_with_a_task():
    """The catalogue does not contradict itself."""
    both = [m for m in known_models().values() if m.synchronous and m.answers_with_task]
    assert both == []
