"""The documentation's examples for Ray Data and Spark, run as they are written."""

from __future__ import annotations

import re
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from shutil import which

import pandas as pd
import pytest
from PIL import Image

from quantart.serving.package import package_shipped

from ..ray_cluster import ROOT, apart_exists, ray_exists, run_apart, run_beside_ray

DOCUMENT = ROOT / "docs" / "serving.md"
PHOTOS = 9  # more than a batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model and a few of the sample pictures, where the examples expect them."""
    folder = tmp_path_factory.mktemp("cluster")
    package_shipped(folder / "model")
    for domain, count in (("photos", PHOTOS), ("paintings", 99)):
        (folder / "data" / "sample" / domain).mkdir(parents=True)
        for picture in sorted((ROOT / "data" / "sample" / domain).iterdir())[:count]:
            (folder / "data" / "sample" / domain / picture.name).symlink_to(picture)
    return folder


def example(name: str) -> str:
    """The example that writes the folder `name`, with the model's folder in place of the registry."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf8"), re.DOTALL)
    (block,) = (block for block in blocks if f'"{name}"' in block)
    return block.replace("models:/quantart@challenger", "model")


def check(written: Path) -> None:
    painted = pd.read_parquet(written)
    assert len({Path(path).name for path in painted["path"]}) == len(painted) == PHOTOS
    assert {max(Image.open(BytesIO(image)).size) for image in painted["image"]} == {256}


@pytest.mark.faults
@pytest.mark.skipif(not ray_exists(), reason="needs Ray and namespaces")
def test_ray_data_paints_a_folder(folder: Path) -> None:
    absolute = example("painted_by_ray").replace('"model"', repr(str(folder / "model")))
    run_beside_ray(f"import ray; ray.init('auto')\n{absolute}", workers=3, cwd=folder)
    check(folder / "painted_by_ray")


@pytest.mark.faults
@pytest.mark.skipif(not (find_spec("pyspark") and which("java") and apart_exists()), reason="needs Spark and Java")
def test_spark_paints_a_folder(folder: Path) -> None:
    local = "import os; os.environ |= {'SPARK_LOCAL_IP': '127.0.0.1', 'SPARK_LOCAL_HOSTNAME': 'localhost'}\n"
    run_apart(local + example("painted_by_spark"), cwd=folder)
    check(folder / "painted_by_spark")
