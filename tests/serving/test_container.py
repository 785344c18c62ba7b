"""What MLflow puts beside the Dockerfile of the packaged model; no Docker engine is needed for it."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from mlflow.models.flavor_backend_registry import get_flavor_backend

from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import SUMS, check_networks, served_version
from quantart.serving.package import MODULES, requirements


def test_the_image_gets_the_whole_model_under_its_number(registered: RegisteredVersion, tmp_path: Path) -> None:
    backend = get_flavor_backend(registered.uri, docker_build=True, env_manager="local")
    backend.generate_dockerfile(registered.uri, str(tmp_path), install_mlflow=False)
    assert "COPY model_dir " in (tmp_path / "Dockerfile").read_text()
    model = tmp_path / "model_dir"
    artifacts = model / "artifacts"
    networks = [artifacts / "discrete", artifacts / "continuous"]
    assert (model / "requirements.txt").read_text().split() == requirements(*networks)
    assert "serving/model.py" in ZipFile(model / "code" / "quantart" / MODULES).namelist()
    assert served_version(model) == registered.version
    check_networks(networks, artifacts / SUMS)
