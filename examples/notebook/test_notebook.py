"""
The notebook runs from top to bottom in a real kernel, and is kept with its outputs.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "apimodels.ipynb"
SCRIPTS = Path(__file__).parents[2] / "docs" / "scripts.md"
BEFORE = """
from apimodels_async import PollPolicy, Session
from apimodels_async.emulator import Emulator

emulator = Emulator(speed=50)
await emulator.start()
often = PollPolicy.unchecked(interval=0.1)
session = Session(emulator.api_key, base_url=emulator.base_url, polling=often)
"""
KEPT_BYTES_MAX = 60_000


def outputs(notebook):
    """Return the outputs of all cells, in order."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Run a copy of the notebook in an empty folder."""
    for name in ("APIMODELS_API_KEY", "APIMODELS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    place = {"metadata": {"path": str(tmp_path)}}
    return NotebookClient(notebook, timeout=50, resources=place).execute()


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_the_notebook_runs(executed, tmp_path):
    """Every cell runs; pictures, the live handle and the saved file are there."""
    kinds = [each.output_type for each in outputs(executed)]
    shown = [each for each in outputs(executed) if "text/html" in each.get("data", {})]

    assert "error" not in kinds
    assert len(shown) == 3
    assert all(
        '<img src="http://127.0.0.1:' in each.data["text/html"] for each in shown
    )
    assert [each.output_type for each in shown][1] == "display_data"
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["fox"]


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_the_block_in_the_docs_runs(tmp_path):
    """The live handle of docs/scripts.md is shown as it is printed."""
    text = SCRIPTS.read_text(encoding="utf-8")
    (block,) = re.findall(
        r"no-run: display[^\n]*\n```python\n(.*?)```", text, re.DOTALL
    )
    notebook = nbformat.v4.new_notebook()
    cells = (BEFORE, block, "await session.aclose(); await emulator.aclose()")
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=50, resources=place).execute()

    # A display that is updated is kept as it was shown last.
    (shown,) = [each for each in outputs(notebook) if "data" in each]
    assert '<img src="http://127.0.0.1:' in shown.data["text/html"]


def test_the_notebook_is_kept_small_and_whole():
    """What is in the repository was run in order, without errors, and is small."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "error" not in [each.output_type for each in outputs(notebook)]
    assert NOTEBOOK.stat().st_size < KEPT_BYTES_MAX
