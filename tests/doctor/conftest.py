"""Projects to be examined."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    asked = ("ACCELERATE_", "MLFLOW_", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "QUANTART_PROJECT")
    for name in [name for name in os.environ if name.startswith(asked)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The root of a project that is as it should be, all committed."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock", ".dvc/config", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    for folder in ("photos", "paintings"):
        (root / "data" / "sample" / folder).mkdir(parents=True)
        (root / "data" / "sample" / folder / "1.jpg").touch()
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "begin")
    return root
