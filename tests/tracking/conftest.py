from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No tracking address from outside, and none left behind: MLflow writes its own into the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return monkeypatch


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose store the tests of a module share, since making the schema takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.delenv("MLFLOW_TRACKING_URI")
        yield tmp_path_factory.mktemp("project")
