"""
The pytest plugin: fixtures for tests of programs that use this package.

pytest loads it in every run where the package is installed, so it imports nothing until
a fixture is asked for. What the fixtures give is in ``apimodels_async.testing``.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apimodels_async import sync
    from apimodels_async.testing import Faults, Record, ServedEmulator

_INI: Final = {
    "speed": ("50", "How many times as fast as the real service pictures are made."),
    "poll_interval": ("0.05", "Seconds between two polls of a task."),
    "credits": ("100", "US dollars on the emulated account."),
}
_MARK: Final = frozenset({*_INI, "seed", "strict_inputs", "service_times"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add the settings ``apimodels_speed``, ``..._poll_interval`` and ``..._credits``.
    """
    for name, (default, text) in _INI.items():
        parser.addini(f"apimodels_{name}", text, default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    line = (
        f"apimodels({', '.join(sorted(_MARK))}): settings of the emulator that the "
        "fixture apimodels_emulator serves for this test."
    )
    config.addinivalue_line("markers", line)


@pytest.fixture
def apimodels_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedEmulator]:
    """Serve the image API for this test; any ``Session()`` made in it finds it."""
    from apimodels_async.errors import ConfigurationError
    from apimodels_async.testing import serve_emulator

    settings = _settings(request)
    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(serve_emulator(**settings))
        except ConfigurationError as error:
            pytest.fail(str(error), pytrace=False)
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def apimodels_faults(apimodels_emulator: ServedEmulator) -> Faults:
    """Arrange what goes wrong in the emulated API."""
    return apimodels_emulator.faults


@pytest.fixture
def apimodels_record(apimodels_emulator: ServedEmulator) -> Record:
    """Look at what the emulated API was asked."""
    return apimodels_emulator.record


@pytest.fixture
def apimodels_sync_session(
    apimodels_emulator: ServedEmulator,
) -> Iterator[sync.Session]:
    """Open a synchronous session on the emulated API."""
    with apimodels_emulator.sync_session() as session:
        yield session


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _INI:
        text = str(request.config.getini(f"apimodels_{name}"))
        try:
            found[name] = float(text)
        except ValueError:
            msg = f"apimodels_{name} must be a number, not {text!r}"
            raise pytest.UsageError(msg) from None
    # The closest marker comes first, and its word counts.
    for mark in reversed([*request.node.iter_markers("apimodels")]):
        unknown = [*map(repr, mark.args), *(mark.kwargs.keys() - _MARK)]
        if unknown:
            msg = (
                f"@pytest.mark.apimodels takes these by name: "
                f"{', '.join(sorted(_MARK))}; not {', '.join(sorted(unknown))}"
            )
            raise pytest.UsageError(msg)
        found |= mark.kwargs
    return found | {"credits": str(found["credits"])}
