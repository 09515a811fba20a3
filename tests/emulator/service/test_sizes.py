"""Picture sizes."""

from apimodels_async.emulator.service import sizes

# Parameters and sides of the first input -> sides of the picture.
FRAMES = [
    ({}, None, (1024, 1024)),
    ({"aspect_ratio": "16:9"}, None, (1280, 720)),
    ({"aspect_ratio": "3:4"}, None, (864, 1152)),
    ({"aspect_ratio": "16:9", "resolution": "4k"}, None, (3840, 2160)),
    ({"width": 512, "height": 256}, None, (512, 256)),
    ({"width": 512}, None, (512, 512)),
    ({"size": "640x480"}, None, (640, 480)),
    ({"size": "2K"}, None, (2048, 2048)),
    ({"size": "9999x9999"}, None, (4096, 4096)),
    ({}, (400, 300), (1152, 864)),
    ({}, (1000, 999), (1024, 1024)),
    ({"aspect_ratio": "match_input_image"}, (1000, 1), (4096, 64)),
    ({"scale": 4}, (300, 200), (1200, 800)),
]
TIERS = {"1024x1536": "1K", "2048x2048": "2K", "3840x2160": "4K", "4K": "4K"}


def test_sizes_follow_the_request():
    """Sides follow width and height, size, scale, ratio and resolution, in order."""
    for params, first_input, expected in FRAMES:
        assert (params, sizes.frame(params, first_input)) == (params, expected)


def test_tier_follows_the_long_edge():
    """The price's resolution word follows the longer side."""
    assert {size: sizes.tier({"size": size}) for size in TIERS} == TIERS
