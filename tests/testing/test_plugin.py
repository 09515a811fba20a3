"""The fixtures in projects of users, each run by a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "guides" / "testing.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_a_printed_test_passes(project):
    """Each example of docs/guides/testing.md is a test file that passes."""
    files = {f"test_{n}_dot_py": source for n, source in enumerate(PRINTED)}
    done = project("-W", "error", **files)

    assert done.code == 0, done.text
    passed = sum(source.count("def test_") for source in PRINTED)
    assert f"{passed} passed" in done.text


APP = """
import asyncio
from apimodels_async import Session

async def draw():
    async with Session() as session:
        return await session.images.generate("a moose", model="gpt-image-2")
"""
NO_PLUGIN = """
import asyncio, os
from app import draw

def test_draws(apimodels_emulator, apimodels_record):
    assert os.environ["APIMODELS_BASE_URL"] == apimodels_emulator.base_url
    asyncio.run(draw())
    assert len(apimodels_record.orders) == 1
    assert apimodels_record.polls >= 1

def test_the_environment_is_put_back():
    assert "APIMODELS_BASE_URL" not in os.environ
    assert "APIMODELS_POLL_INTERVAL" not in os.environ
"""


def test_a_program_that_runs_its_own_loop_finds_the_emulator(project):
    """A plain test may call ``asyncio.run``; the program's ``Session()`` is served."""
    done = project(
        *("-o", "pythonpath=.", "-W", "error"),
        app_dot_py=APP,
        test_app_dot_py=NO_PLUGIN,
    )

    assert done.code == 0, done.text


SETTINGS = """
import pytest

def test_of_the_project(apimodels_emulator):
    assert apimodels_emulator.balance == 7

@pytest.mark.apimodels(credits="2.50")
class TestMarked:
    def test_of_the_class(self, apimodels_emulator):
        assert str(apimodels_emulator.balance) == "2.50"

    @pytest.mark.apimodels(credits=0, poll_interval=0.5)
    def test_of_its_own(self, apimodels_emulator):
        assert apimodels_emulator.balance == 0
        assert apimodels_emulator.environment["APIMODELS_POLL_INTERVAL"] == "0.5"
"""


def test_the_nearest_setting_counts(project):
    """A marker on the test comes before one on its class, and that before the ini."""
    done = project(
        "--strict-markers",
        pytest_dot_ini="[pytest]\napimodels_credits = 7\n",
        test_settings_dot_py=SETTINGS,
    )

    assert done.code == 0, done.text
    assert "3 passed" in done.text


USE = "def test_use(apimodels_emulator): ...\n"


def test_a_setting_that_cannot_be_is_refused(project):
    """A wrong setting fails the test that uses it, and says what can be set."""
    done = project(
        test_name_dot_py=f"import pytest\n@pytest.mark.apimodels(money=1)\n{USE}",
        test_place_dot_py=f"import pytest\n@pytest.mark.apimodels(50)\n{USE}",
    )

    assert done.code == 1
    assert "2 errors" in done.text
    assert done.text.count("takes these by name: credits, ") >= 2
    assert "strict_inputs; not money" in done.text

    done = project(
        "-c", "pytest.ini", pytest_dot_ini="[pytest]\napimodels_speed = fast\n"
    )

    assert done.code == 1
    assert "apimodels_speed must be a number, not 'fast'" in done.text


def test_without_pillow_the_fixture_says_what_to_install(project):
    """A missing Pillow fails the tests that need it, and no other."""
    done = project(
        conftest_dot_py="import sys\nsys.modules['PIL'] = None\n",
        test_use_dot_py=f"{USE}\ndef test_other(): ...\n",
    )

    assert done.code == 1
    assert "pip install 'apimodels-async[testing]'" in done.text
    assert "1 passed, 1 error" in done.text


def test_the_plugin_loads_light():
    """Loading the plugin loads nothing of the package but its doors."""
    code = (
        "import pytest, sys; before = set(sys.modules)\n"
        "import apimodels_async.testing.plugin; print(*set(sys.modules) - before)"
    )

    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()

    own = {
        "apimodels_async",
        "apimodels_async._io",
        "apimodels_async._io.lazy",
        "apimodels_async._version",
        "apimodels_async.testing",
        "apimodels_async.testing.plugin",
    }
    assert {name for name in loaded if name.startswith("apimodels_async")} == own
    assert not {"aiohttp", "anyio", "attrs", "PIL", "attr"} & set(loaded)
