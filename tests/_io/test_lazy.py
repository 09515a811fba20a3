"""What is said where an extra is not installed."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys

for line in sys.argv[1:]:
    name, statement = line.split(": ")
    sys.modules[name] = None
    try:
        exec(statement)
    except ModuleNotFoundError as error:
        print(error.name.partition(".")[0], error)
"""
"""An import of None fails as one of a package that is not there."""


def test_the_extra_that_is_missing_is_named():
    """What needs one says how it is had, and is still a module that is not there."""
    imports = [
        "fastapi: import apimodels_async.integrations.fastapi",
        "opentelemetry: from apimodels_async.integrations import otel",
        "redis: from apimodels_async.integrations.redis import RedisLimit",
        "streaq: from apimodels_async.integrations.streaq import OrderQueue",
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *imports],
        check=True,
        capture_output=True,
        text=True,
    )

    extras = {
        "fastapi": "fastapi",
        "opentelemetry": "otel",
        "redis": "redis",
        "streaq": "distributed",
    }
    assert done.stdout.splitlines() == [
        f"{name} {name} is not installed; run: pip install 'apimodels-async[{extra}]'"
        for name, extra in extras.items()
    ]
