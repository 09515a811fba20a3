"""
The notebook runs from top to bottom in a real kernel, and is kept with its outputs.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "apimodels.ipynb"
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


def test_the_notebook_is_kept_small_and_whole():
    """What is in the repository was run in order, without errors, and is small."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "error" not in [each.output_type for each in outputs(notebook)]
    assert NOTEBOOK.stat().st_size < KEPT_BYTES_MAX
