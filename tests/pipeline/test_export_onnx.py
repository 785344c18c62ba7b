"""`quantart export --onnx`: the project's network, and the example of docs/open-model.md as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.models.alpha_beta import Fidelity
from quantart.models.shipped import shipped
from quantart.stylize.graph_painter import GraphPainter
from quantart_cli.app import app

ROOT = Path(__file__).parents[2]


def test_the_documented_example_paints_with_onnxruntime_and_pillow_alone(
    pictures: tuple[Picture, Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "open-model.md").read_text(encoding="utf8").partition("## As ONNX graphs")[2]
    command = re.search(r"```sh\nquantart (export.*?) +#", text)
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert command
    assert example
    done = CliRunner().invoke(app, command[1].split(), catch_exceptions=False)
    assert done.exit_code == 0
    squares = [np.array(Image.fromarray(picture).resize((384, 384))) for picture in pictures]
    for name, picture in zip(("photo.jpg", "painting.jpg"), squares, strict=True):
        Image.fromarray(picture).save(name, quality=100, subsampling=0)
    code = example[1] + "\nimport sys; assert not {'torch', 'quantart'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
    with Image.open("painted.png") as painted, Image.open("photo.jpg") as photo, Image.open("painting.jpg") as painting:
        expected = GraphPainter(shipped("stage2_discrete")).paint(*map(np.array, (photo, painting)), Fidelity(1.0, 1.0))
        np.testing.assert_array_equal(np.array(painted), expected)


def test_a_project_exports_its_own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="stage2_discrete: holds no model"):
        CliRunner().invoke(app, ["export", "--onnx", "graphs"], catch_exceptions=False)
    shutil.copytree(shipped("stage2_discrete"), tmp_path / "models" / "stage2_discrete")
    assert CliRunner().invoke(app, ["export", "--onnx", "graphs"], catch_exceptions=False).exit_code == 0
    assert len(list((tmp_path / "graphs").glob("*.onnx"))) == 4
    assert not (tmp_path / "mlflow.db").exists()
