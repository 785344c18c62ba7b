"""A small project whose pictures are prepared and paired, for what comes after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from quantart.data.prepare import prepare_domain
from quantart.pipeline import pair
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prepared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pictures of data/sample at 32 pixels, and 14 pairs to evaluate. Copy it before writing into it."""
    project = Project(tmp_path_factory.mktemp("prepared"))
    params = from_scratch()
    params["data"] |= {"content": str(ROOT / "data/sample/photos"), "style": str(ROOT / "data/sample/paintings")}
    params["data"] |= {"resolution": 32, "short_side": 36}
    for stage in ("base", "domain"):
        params["stage1"][stage]["crop"] = 32
    params["stage2"]["objective"] = "reference"  # the other one needs larger pictures
    params["stage2"]["train"]["crop"] = 8
    params["evaluate"] |= {"pairs": 14, "size": 32}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for domain in DOMAINS:
        prepare_domain(project.source(domain), project.prepared(domain), project.params().data, domain=domain)
    pair.run(project)
    return project


@pytest.fixture(scope="module")
def small_project(prepared_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of it for each module, with a tracking store of its own."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(prepared_project.root, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        yield Project(root)
