"""
The notebook runs from top to bottom in a real kernel, and is kept with its outputs.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parent / "apimodels.ipynb"
SCRIPTS = Path(__file__).parents[2] / "docs" / "guides" / "scripts.md"
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


def embedded(page):
    """Return the pictures that are part of a page, in base64."""
    return re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="[^"]', page)


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
    pages = [each.data["text/html"] for each in shown]

    assert "error" not in kinds
    assert "stream" not in kinds[:4]  # no warning that this is no notebook
    assert [page.count('<img src="http://127.0.0.1:') for page in pages] == [
        *(1, 0, 1, 0, 1)
    ]
    assert [len(embedded(page)) for page in pages] == [0, 1, 0, 4, 0]
    assert [each.output_type for each in shown][2] == "display_data"
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["fox"]


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_the_blocks_in_the_docs_run(tmp_path):
    """The live handle and the grid of the guide are shown as they are printed."""
    text = SCRIPTS.read_text(encoding="utf-8")
    blocks = re.findall(
        r"test_notebook.py runs it -->\n```python\n(.*?)```", text, re.DOTALL
    )
    notebook = nbformat.v4.new_notebook()
    cells = (BEFORE, *blocks, "await session.aclose(); await emulator.aclose()")
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=50, resources=place).execute()

    # A display that is updated is kept as it was shown last.
    live, grid = [each for each in outputs(notebook) if "data" in each]
    assert '<img src="http://127.0.0.1:' in live.data["text/html"]
    assert len(embedded(grid.data["text/html"])) == 2


def test_the_notebook_is_kept_small_and_whole():
    """What is in the repository was run in order, has its pictures, and is small."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "error" not in [each.output_type for each in outputs(notebook)]
    assert NOTEBOOK.stat().st_size < KEPT_BYTES_MAX
    pages = [each.get("data", {}).get("text/html", "") for each in outputs(notebook)]
    pictures = [each for page in pages for each in embedded(page)]
    assert len(pictures) == 5
    for each in pictures:
        Image.open(io.BytesIO(base64.b64decode(each))).load()
