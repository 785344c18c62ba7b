"""A tiny project in three states, and training processes in copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..test_end_to_end import TINY
from .projects import REPOSITORY, TRAIN, Quantart, client, copy_project, result, runs_of, set_params

EVERY = {"log_every": 2, "validate_every": 4, "checkpoint_every": 2}
CHANGES = TINY | {
    f"{section}.{key}": value
    for section in ("stage1.base", "stage1.domain", "stage2.train")
    for key, value in EVERY.items()
}


@pytest.fixture(scope="session")
def quantart() -> Iterator[Quantart]:
    quantart = Quantart()
    yield quantart
    quantart.close()


@pytest.fixture(scope="session")
def prepared(quantart: Quantart, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures a domain, prepared and paired, and a tracking store."""
    root = tmp_path_factory.mktemp("prepared")
    shutil.copy(REPOSITORY / "params.yaml", root)
    for domain in ("photos", "paintings"):
        (root / "data" / "sample" / domain).mkdir(parents=True)
        for picture in sorted((REPOSITORY / "data" / "sample" / domain).iterdir())[:12]:
            shutil.copy(picture, root / "data" / "sample" / domain)
    set_params(root, CHANGES)
    for domain in ("content", "style"):
        quantart.well(root, "prepare", "--domain", domain, "--workers", "1")
    quantart.well(root, "pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        from quantart.tracking.store import configure

        configure(root)
    return root


@pytest.fixture(scope="session")
def encoded(quantart: Quantart, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 trained, and both domains encoded."""
    root = copy_project(prepared, tmp_path_factory.mktemp("encoded") / "project")
    for stage in ("stage1_base", "stage1_content", "stage1_style"):
        quantart.well(root, *TRAIN[stage])
    for domain in ("content", "style"):
        quantart.well(root, "encode", "--domain", domain)
    return root


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Makes a project in which `stage` is the next to train, with changes to its parameters."""
    places = iter(range(100))

    def make(stage: str, changes: dict[str, Any] | None = None) -> Path:
        return make_fresh(request, stage, tmp_path / f"project-{next(places)}", changes)

    return make


@pytest.fixture(scope="session")
def undisturbed(
    request: pytest.FixtureRequest, quantart: Quantart, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """What an uninterrupted training of a stage gives."""
    known: dict[str, dict[str, Any]] = {}

    def give(stage: str) -> dict[str, Any]:
        if stage not in known:
            root = make_fresh(request, stage, tmp_path_factory.mktemp("undisturbed") / "project")
            quantart.well(root, *TRAIN[stage])
            known[stage] = result(root, stage)
        return known[stage]

    return give


def make_fresh(request: pytest.FixtureRequest, stage: str, root: Path, changes: dict[str, Any] | None = None) -> Path:
    """A project in which `stage` is the next to train."""
    copy_project(request.getfixturevalue("prepared" if stage == "stage1_base" else "encoded"), root, changes)
    shutil.rmtree(root / "models" / stage, ignore_errors=True)
    (root / "runs" / f"{stage}.json").unlink(missing_ok=True)
    for run in runs_of(root, stage):  # of the template
        client(root).delete_run(run.info.run_id)
    return root
