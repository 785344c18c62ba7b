"""The Dockerfile that MLflow writes for the packaged model; no Docker engine is needed for it."""

from __future__ import annotations

from pathlib import Path

import mlflow
import yaml
from mlflow.models.flavor_backend_registry import get_flavor_backend

from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import SUMS, check_networks, served_version
from quantart.serving.package import requirements


def test_the_dockerfile_installs_and_serves_the_model(registered: RegisteredVersion, tmp_path: Path) -> None:
    backend = get_flavor_backend(registered.uri, docker_build=True, env_manager="local")
    backend.generate_dockerfile(registered.uri, str(tmp_path), install_mlflow=False)
    text = (tmp_path / "Dockerfile").read_text()
    model = tmp_path / "model_dir"
    python = yaml.safe_load((model / "python_env.yaml").read_text())["python"]
    assert f"FROM python:{python}-slim" in text
    assert f"RUN pip install mlflow=={mlflow.__version__}" in text
    assert "COPY model_dir /opt/ml/model" in text
    assert "C._install_pyfunc_deps('/opt/ml/model', install_mlflow=False, env_manager='local')" in text
    assert """ENTRYPOINT ["python", "-c", "from mlflow.models import container as C; C._serve('local')"]""" in text

    assert (model / "requirements.txt").read_text().split() == requirements()
    assert (model / "code" / "quantart" / "serving" / "model.py").is_file()
    assert served_version(model) == registered.version
    artifacts = model / "artifacts"
    check_networks([artifacts / "discrete", artifacts / "continuous"], artifacts / SUMS)
