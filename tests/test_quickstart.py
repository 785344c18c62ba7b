"""The quick-start notebook runs as it is in the repository."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="notebooks need a kernel: pip install ipykernel nbclient")
pytest.importorskip("nbclient", reason="notebooks need a kernel: pip install ipykernel nbclient")
import nbformat
from nbclient import NotebookClient

from quantart.images.decode import read_image
from quantart.params.file import load_params


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(Path(__file__).parents[1] / "docs/quickstart.ipynb", as_version=4)


def test_it_is_stored_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.slow
def test_every_cell_runs(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    params = load_params(tmp_path / "mine/params.yaml")
    train = params.stage2.train
    assert (train.steps, train.validate_every, params.data.test_share) == (20, 20, 0.35)
    assert params.evaluate.pairs == 8
    assert max(read_image(tmp_path / "my/painted.png", max_pixels=10**6).shape) == 384
    said = "".join(output.get("text", "") for output in notebook.cells[-2].outputs)
    assert "B − A on the same pictures" in said
    assert re.search(r"\(quantart/open@\w+\)\s+paints\.", said)
    assert "<html" in (tmp_path / "my/comparison.html").read_text(encoding="utf8")
