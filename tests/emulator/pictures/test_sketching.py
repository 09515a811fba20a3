"""Sketches: one for each picture a request asks for."""

from apimodels_async.emulator.pictures.sketching import LAYERS, sketches
from apimodels_async.emulator.service.catalogue import MODELS

MODEL = MODELS["gpt-image-2"]


def sketch(prompt="a fox", **params):
    """Return the sketches of a request without inputs."""
    return sketches(MODEL, prompt, params, (), None)


def test_equal_requests_give_equal_sketches():
    """Model, prompt and seed decide the sketch; without a seed, model and prompt."""
    assert sketch() == sketch()
    assert sketch() != sketch("a moose")
    assert sketch() != sketch(seed=1)


def test_n_pictures_have_different_seeds():
    """Each of *n* pictures has a seed of its own."""
    assert [each.seed for each in sketch(seed=5, n=3)] == [5, 6, 7]


def test_a_layer_split_has_the_whole_picture_first():
    """The flat picture comes first, then each layer, transparent."""
    whole, *layers = sketch(layer_decomposition=True)

    assert (whole.layer, whole.transparent) == (None, False)
    assert [each.layer for each in layers] == list(range(len(LAYERS)))
    assert all(each.transparent and each.format == "png" for each in layers)


def test_a_transparent_jpeg_becomes_a_png():
    """JPEG has no transparency, so a transparent picture is a PNG."""
    assert sketch(background="transparent")[0].format == "png"
    assert sketch(background="transparent", output_format="webp")[0].format == "webp"
