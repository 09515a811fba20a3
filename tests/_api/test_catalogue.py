"""The published models, as dated data."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from support.cases import check_all

from apimodels_async._api.catalogue import (
    SPARKPIX_EDIT,
    SPARKPIX_IMAGE,
    find_model,
    known_models,
)
from apimodels_async.model_info import KnownModel


def test_a_model_is_known_with_its_price_and_day():
    """A known model carries dated prices a tier and what it takes."""
    known = find_model("gpt-image-2")
    expected = KnownModel(
        id="gpt-image-2",
        read_on=date(2026, 9, 22),
        prices={"1K": Decimal("0.025"), "2K": Decimal("0.03"), "4K": Decimal("0.05")},
        params=known.params,
        image_field="image_urls",
        images_max=16,
        answers_with_task=True,
    )
    assert expected == known


@pytest.mark.parametrize(
    ("model", "price"), [(SPARKPIX_IMAGE, "0.0100"), (SPARKPIX_EDIT, "0.0130")]
)
def test_sparkpix_is_synchronous_at_the_pages_price(model, price):
    """The two SparkPix models are answered directly, at the price on the API page."""
    known = known_models()[model]

    assert known.synchronous
    assert {"": Decimal(price)} == known.prices


def test_only_sparkpix_is_synchronous():
    """Every other model is answered by a task."""
    synchronous = {name for name, known in known_models().items() if known.synchronous}
    assert {SPARKPIX_IMAGE, SPARKPIX_EDIT} == synchronous


def test_a_prefixed_id_is_found():
    """A model is found by its own id and by its prefixed form; others are unknown."""
    cases = [
        ("grok-4.2-image", "grok-4.2-image"),
        ("grok-image/grok-4.2-image", "grok-4.2-image"),
        ("nope", None),
        ("grok-image/nope", None),
        ("", None),
        ("gpt-image-2/", None),
    ]

    def check(model, expected):
        known = find_model(model)
        assert expected == (known and known.id)

    check_all(cases, check)


def test_the_file_is_sound():
    """Ids are unique, prices positive, and a limit on images names their field."""
    models = known_models()

    assert len(models) == 42
    for name, known in models.items():
        assert name == known.id
        assert all(price > 0 for price in known.prices.values())
        assert known.images_max is None or known.image_field is not None
