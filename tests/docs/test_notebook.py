"""The notebook in `studies/` runs as it is, wherever it is opened, and writes nothing beside itself."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import ROOT

NOTEBOOK = ROOT / "studies" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def source() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(source, tmp_path_factory) -> tuple[Any, Path]:
    """The notebook after it ran in a folder of its own, and that folder."""
    import nbformat
    from nbclient import NotebookClient

    place = tmp_path_factory.mktemp("studies")
    shutil.copy(NOTEBOOK, place)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        notebook = nbformat.read(place / NOTEBOOK.name, as_version=4)
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": place}}).execute()
    return notebook, place


def said(notebook: Any) -> str:
    """The text of all outputs."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_it_is_kept_without_outputs(source):
    code = [cell for cell in source.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_it_plans_runs_draws_asks_and_loads_a_model(executed):
    notebook, _ = executed
    text = said(notebook)
    assert "12 cells, 0 finished, 12 missing" in text
    assert "12 cells, 12 finished, 0 missing" in text
    assert "rate_nats" in text
    assert "lowering_beta" in text
    assert "torch.Size" in text
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 1
    assert not any(output.get("name") == "stderr" for cell in notebook.cells for output in cell.get("outputs", ()))


def test_it_writes_nothing_beside_itself(executed):
    _, place = executed
    assert [path.name for path in place.iterdir()] == [NOTEBOOK.name]
