import shutil
import subprocess
import tempfile
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from quantart.errors import UserError
from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import SUMS, check_networks, loadable, served_version, write_checksums


@pytest.fixture
def networks(tmp_path: Path) -> list[Path]:
    for variant in ("discrete", "continuous"):
        (tmp_path / variant).mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / variant / name).write_text(f"{name} of {variant}")
    return [tmp_path / "discrete", tmp_path / "continuous"]


def test_the_list_is_one_that_sha256sum_checks(networks: list[Path], tmp_path: Path) -> None:
    write_checksums(networks, tmp_path / SUMS)
    check_networks(networks, tmp_path / SUMS)
    assert len((tmp_path / SUMS).read_text().splitlines()) == 4
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), "discrete/config.json was changed: .*SHA256SUMS"),
        (lambda folder: (folder / "model.safetensors").unlink(), "discrete/model.safetensors is missing"),
        (lambda folder: (folder / "more.py").write_text(""), "discrete/more.py is not listed"),
        (lambda folder: (folder.parent / SUMS).unlink(), "SHA256SUMS: "),
        (lambda folder: (folder.parent / SUMS).write_bytes(b"\xff"), "SHA256SUMS: "),
        (lambda folder: (folder.parent / SUMS).write_text(""), "config.json is not listed"),
    ],
)
def test_whatever_differs_from_the_list_is_refused(
    change: object, fault: str, networks: list[Path], tmp_path: Path
) -> None:
    write_checksums(networks, tmp_path / SUMS)
    change(networks[0])  # type: ignore[operator]
    with pytest.raises(UserError, match=fault):
        check_networks(networks, tmp_path / SUMS)


def test_a_model_knows_the_version_it_was_loaded_as(registered: RegisteredVersion, tmp_path: Path) -> None:
    MlflowClient().set_registered_model_alias(registered.name, registered.alias, registered.version)
    by_alias = Path(mlflow.artifacts.download_artifacts(f"models:/{registered.name}@{registered.alias}"))
    assert served_version(by_alias) == registered.version
    folder = Path(shutil.copytree(by_alias, tmp_path / "model"))
    assert served_version(folder) == registered.version


def test_without_a_registry_it_is_the_logged_model_and_then_nothing(
    registered: RegisteredVersion, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(mlflow.artifacts.download_artifacts(registered.uri), tmp_path / "model"))
    (folder / "registered_model_meta").unlink()
    logged = MlflowClient().get_run(registered.run_id).outputs.model_outputs
    assert served_version(folder) in {each.model_id for each in logged}
    (folder / "MLmodel").unlink()
    assert served_version(folder) == "unregistered"


def test_a_folder_whose_name_mlflow_would_decode_is_loaded_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("100% art", "50%20off"):
        (tmp_path / name / "discrete").mkdir(parents=True)
        (tmp_path / name / "discrete" / "config.json").write_text("{}")
    assert loadable(tmp_path / "100% art") == tmp_path / "100% art"
    copy = loadable(tmp_path / "50%20off")
    assert "%" not in str(copy)
    assert (copy / "discrete" / "config.json").read_text() == "{}"
