"""The notebook of docs/examples, run in a real kernel: what each cell shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="NOTEBOOK NOT EXECUTED: no nbformat")
nbclient = pytest.importorskip("nbclient", reason="NOTEBOOK NOT EXECUTED: no nbclient")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "examples" / "notebook.ipynb"


def outputs(cell: Any) -> list[Any]:
    """What a cell shows, each output as its plain text or, without one, as its data by MIME type."""
    shown = []
    for output in cell.outputs:
        data = output.get("data", {})
        shown.append(output.get("text") or data.get("text/plain") or data)
    return shown


@pytest.mark.slow
def test_the_notebook_goes_from_a_task_in_a_cell_to_its_figures_and_shows_no_more_than_that(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they are made anew by whoever runs it
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    defined, preflight, swept, promoted, findings, names, importance = (
        outputs(cell) for cell in notebook.cells if cell.cell_type == "code"
    )
    assert defined == []
    assert preflight[0].startswith("preflight: done, ")
    assert preflight[1:] == ["'go'"]
    assert swept[0].startswith("sweep: 6 of 6, ")
    assert "best error 0." in swept[0]
    assert swept[1:] == ["6"]
    assert promoted[0].startswith("promote: 4 of 4, ")
    assert promoted[1].endswith("95 % intervals.\n")
    assert len(promoted) == 2
    (headline,) = findings
    assert headline.startswith("<findings of disc: ")
    assert promoted[1].strip() in headline
    assert "'importance'" in names[0]
    (figure,) = importance
    assert figure["application/vnd.plotly.v1+json"]["layout"]["title"]["text"] == "<b>What mattered</b>"
    assert (tmp_path / "runs" / "disc" / "winner" / "weights.safetensors").exists()
