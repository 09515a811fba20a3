"""The words that editors complete are those of the catalogue."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import get_args, get_overloads

from support.cases import check_all

from apimodels_async import AspectRatio, Images, KnownModelId, Quality, Resolution
from apimodels_async._api.catalogue import SPARKPIX_EDIT, SPARKPIX_IMAGE, known_models
from apimodels_async._api.literals import EditRatio, ImageRatio

SPARKPIX = {SPARKPIX_IMAGE, SPARKPIX_EDIT}


def listed(name, models):
    """Return the values that the catalogue lists of a parameter, for these models."""
    found = (known.params.get(name) for known in models)
    return {value for spec in found if spec for value in spec.values}


def words(union):
    """Return the words of every literal in *union*, ``str`` left out."""
    return [word for each in get_args(union) for word in get_args(each)]


def test_the_literals_are_the_catalogue():
    """Model ids and values of shared parameters are the catalogue's, none twice."""
    known = known_models()
    tasks = [model for name, model in known.items() if name not in SPARKPIX]
    cases = [
        (get_args(Resolution), listed("resolution", known.values())),
        (get_args(Quality), listed("quality", known.values())),
        (get_args(AspectRatio), listed("aspect_ratio", tasks)),
        (words(ImageRatio), listed("aspect_ratio", [known[SPARKPIX_IMAGE]])),
        (words(EditRatio), listed("aspect_ratio", [known[SPARKPIX_EDIT]])),
    ]

    def check(here, there):
        assert sorted(here) == sorted(there)

    check_all(cases, check)
    assert get_args(KnownModelId) == tuple(known)


def test_what_several_models_share_is_named_in_every_call():
    """Parameters of two or more models are keywords; SparkPix's own are all there."""
    count = Counter(name for known in known_models().values() for name in known.params)
    shared = {name for name, models in count.items() if models > 1}
    sparkpix, for_any, _ = get_overloads(Images.generate)
    edit, _ = get_overloads(Images.edit)
    submit, _ = get_overloads(Images.submit)

    def named(call):
        return inspect.signature(call).parameters.keys()

    for call in (for_any, submit, Images.batch):
        assert named(call) & count.keys() == shared
    for call, model in ((sparkpix, SPARKPIX_IMAGE), (edit, SPARKPIX_EDIT)):
        assert named(call) & count.keys() == known_models()[model].params.keys()
