"""A tiny project of its own through the real `dvc repro`: real training, store, registry and prediction."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = [
    "code",
    "prepare@content",
    "prepare@style",
    "pair",
    "stage1_base",
    "stage1@content",
    "stage1@style",
    "encode@content",
    "encode@style",
    "stage2@discrete",
    "stage2@continuous",
    "evaluate",
    "export",
]
TINY: dict[str, Any] = {
    "data.resolution": 64,
    "data.short_side": 72,
    "data.val_share": 0.2,
    "data.test_share": 0.3,
    "model.architecture": "reference",
    "model.patch": 1,
    "model.num_res_blocks": 1,
    "model.ch": 8,
    "model.ch_mult": [1, 2],
    "model.z_channels": 8,
    "model.embed_dim": 8,
    "model.n_embed": 16,
    "stage1.init_from": None,
    "stage1.content_from": None,
    "stage1.style_from": None,
    "stage2.init_from": None,
    "stage1.base.crop": 32,
    "stage1.base.quantize_from": 4,
    "stage1.base.perceptual_from": 0,
    "stage1.domain.crop": 32,
    "stage1.domain.discriminator_start": 2,
    "stage1.discriminator.ndf": 4,
    "encode.copies": 2,
    "stage2.train.crop": 32,
    "stage2.painting.width": 8,
    "stage2.painting.coarse_blocks": 2,
    "stage2.painting.fine_blocks": 1,
    "stage2.painting.quantize_from": 4,
    "evaluate.pairs": 6,
    "evaluate.size": 64,  # more than is stored: made from the originals
} | {
    f"{section}.{key}": value
    for section in ("stage1.base", "stage1.domain", "stage2.train")
    for key, value in {
        "steps": 8,
        "optimizer": "adam",
        "log_every": 2,
        "validate_every": 4,
        "checkpoint_every": 4,
    }.items()
}


def set_params(root: Path, changes: dict[str, Any]) -> None:
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *folders, last = key.split(".")
        section = params
        for folder in folders:
            section = section[folder]
        assert last in section, key
        section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def call(root: Path, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    environment |= variables
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment)
    assert not check or result.returncode == 0, f"{command}: {result.stdout}\n{result.stderr}"
    return result


def make_repository(root: Path) -> None:
    """A clone's files with twelve pictures a domain, for git and DVC, in a folder that may exist."""
    shutil.copytree(REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    for domain in ("photos", "paintings"):
        (root / "data" / "sample" / domain).mkdir(parents=True)
        for picture in sorted((REPOSITORY / "data" / "sample" / domain).iterdir())[:12]:
            shutil.copy(picture, root / "data" / "sample" / domain)
    set_params(root, TINY)
    call(root, "git", "init", "-q")
    call(root, "dvc", "init", "-q")
    call(root, "git", "add", ".")
    call(root, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "tiny project")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a repository after one `dvc repro`."""
    root = tmp_path_factory.mktemp("project")
    make_repository(root)
    call(root, "dvc", "repro")
    return root


def ran(output: str) -> list[str]:
    """Stages that `dvc repro` really ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")


def test_pipeline_makes_what_it_promises(project: Path) -> None:
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    assert sorted(lock["stages"]) == sorted(STAGES)
    metrics = json.loads((project / "reports" / "metrics.json").read_text())
    assert {"discrete", "continuous"} <= set(metrics)
    assert list((project / "reports" / "grids").glob("*.png"))
    assert (project / "models" / "stage2_discrete" / "model.safetensors").is_file()
    assert not (project / ".quantart" / "checkpoints" / "stage1_base").exists()


def test_each_training_stage_is_a_run_with_its_lineage(project: Path) -> None:
    store = client(project)
    experiment = store.get_experiment_by_name("quantart")
    found = store.search_runs([experiment.experiment_id])
    runs = {run.info.run_name.removesuffix(f"@{run.info.run_id[:8]}"): run for run in found}
    assert set(runs) == {"stage1_base", "stage1_content", "stage1_style", "stage2_discrete", "stage2_continuous"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    discrete = runs["stage2_discrete"]
    assert discrete.data.tags["upstream.stage1_style"] == runs["stage1_style"].info.run_id
    assert discrete.data.tags["dvc.stage"] == "stage2@discrete"
    assert discrete.data.params["stage2.train.steps"] == "8"
    steps = [m.step for m in store.get_metric_history(discrete.info.run_id, "train/total_loss")]
    assert steps == [2, 4, 6, 8]
    assert any(key.startswith("eval/") for key in discrete.data.metrics)
    assert {"pairs/val.csv", "pairs/test.csv"} == {
        artifact.path for artifact in store.list_artifacts(discrete.info.run_id, "pairs")
    }
    assert {inputs.dataset.name for inputs in discrete.inputs.dataset_inputs} >= {"content", "style"}


def test_registered_model_paints_a_picture(project: Path) -> None:
    version = client(project).get_model_version_by_alias("quantart", "challenger")
    assert json.loads((project / "runs" / "export.json").read_text())["version"] == str(version.version)
    photo = next((project / "data" / "sample" / "photos").iterdir())
    painting = next((project / "data" / "sample" / "paintings").iterdir())
    out = project / "painted.png"
    command = ["quantart", "stylize", str(photo), "--style", str(painting), "--out", str(out), "--size", "48"]
    call(project, *command, "--model", "models:/quantart@challenger", "--alpha", "0.5", "--beta", "0.5")
    from quantart.images.decode import read_image

    painted = read_image(out, max_pixels=10**6)
    assert max(painted.shape[:2]) == 48
    assert painted.std() > 1.0
    call(project, *command, "--force", "--alpha", "0.5", "--beta", "0.5")  # with the project's own folders
    assert (read_image(out, max_pixels=10**6) == painted).all()
    refused = call(project, *command, "--force", "--alpha", "nan", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "alpha = nan: must be a number from 0 (continuous) to 1 (discrete)" in refused.stderr


def test_repeated_run_does_nothing(project: Path) -> None:
    result = call(project, "dvc", "repro")
    assert ran(result.stdout) == []
    assert "up to date" in result.stdout


def test_dvc_runs_what_a_change_of_code_concerns(project: Path) -> None:
    """The package that runs is this project's own copy, as after `pip install -e .` in it."""
    own = {"PYTHONPATH": os.pathsep.join([str(project / "src"), str(REPOSITORY / "cli")])}
    changed = project / "src" / "quantart" / "serving" / "requests.py"
    text = changed.read_text()
    assert "up to date" in call(project, "dvc", "status", **own).stdout
    try:
        changed.write_text(f"# a comment\n{text}")
        assert ran(call(project, "dvc", "repro", **own).stdout) == ["code"]
        changed.write_text(f"{text}\nCHANGED = 1\n")
        assert ran(call(project, "dvc", "repro", "code", **own).stdout) == ["code"]
        status = call(project, "dvc", "status", **own).stdout
        assert [line for line in status.splitlines() if line.startswith(tuple(STAGES))] == ["export:"]
        refused = call(project, "dvc", "repro", check=False)  # by another package than the project's
        assert refused.returncode != 0
        assert "PYTHONPATH=src:cli" in refused.stderr
    finally:
        changed.write_text(text)
    assert ran(call(project, "dvc", "repro", **own).stdout) == []


def written(heading: str) -> list[str]:
    """The commands of the first block under a heading of docs/team.md, without those that set an environment up."""
    section = (REPOSITORY / "docs" / "team.md").read_text(encoding="utf8").split(f"\n## {heading}\n")[1]
    lines = section.split("```sh\n")[1].split("```")[0].splitlines()
    return [line for line in lines if not line.startswith(("make ", ". ", "cd "))]


def test_a_second_clone_is_up_to_date_after_a_pull(project: Path, tmp_path: Path) -> None:
    person = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    places = {"s3://pictures/quantart": f"{tmp_path}/remote", "git@example.org:team/paintings.git": f"{tmp_path}/git"}

    def follow(root: Path, line: str) -> str:
        for place, ours in places.items():
            line = line.replace(place, ours)
        return call(root, *shlex.split(line), **person).stdout

    call(tmp_path, "git", "init", "-q", "--bare", places["git@example.org:team/paintings.git"])
    call(project, "git", "remote", "add", "origin", places["git@example.org:team/paintings.git"])
    call(project, "git", "config", "push.autoSetupRemote", "true")
    for line in written("The first person"):
        follow(project, line)
    clone = tmp_path / "paintings"
    cloned, *commands = written("The second")
    follow(tmp_path, f"{cloned} {clone.name}")
    said = [follow(clone, line) for line in commands]
    assert ran(said[-1]) == []
    assert not (clone / "mlflow.db").exists()
    before = json.loads((clone / "reports" / "metrics.json").read_text())
    call(clone, "quantart", "evaluate")
    assert json.loads((clone / "reports" / "metrics.json").read_text()) == before
    call(clone, "quantart", "export")
    assert client(clone).get_model_version_by_alias("quantart", "challenger").version in {1, "1"}


def test_a_copy_under_any_name_works_and_never_writes_through_dvcs_links(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "50%20off, what?"
    shutil.copytree(project, copy, symlinks=True)
    call(copy, "dvc", "config", "--local", "cache.type", "hardlink,symlink")
    call(copy, "dvc", "checkout", "-q", "--relink")
    cache = copy / ".dvc" / "cache" / "files" / "md5"
    kept = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert any(path.stat().st_nlink > 1 for path in kept)
    original = sorted((project / "mlartifacts").rglob("*"))

    call(copy, "quantart", "evaluate", "--run-id", "stage2_discrete", "--pairs", "2")
    call(copy, "quantart", "evaluate", "--pairs", "2")
    call(copy, "quantart", "export")

    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == kept
    assert "reports/metrics.json" in call(copy, "dvc", "status").stdout
    assert json.loads((copy / "reports" / "metrics.json").read_text())["discrete"]["n"] == 2
    assert client(project).get_model_version_by_alias("quantart", "challenger").version in {1, "1"}
    assert sorted((project / "mlartifacts").rglob("*")) == original
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_changed_stage2_runs_stage2_and_what_follows_and_setting_it_back_restores(project: Path) -> None:
    before = (project / "runs" / "stage2_discrete.json").read_text()
    set_params(project, {"stage2.painting.texture_weight": 5.0})
    result = call(project, "dvc", "repro")
    assert ran(result.stdout) == ["code", "stage2@discrete", "stage2@continuous", "evaluate", "export"]
    assert (project / "runs" / "stage2_discrete.json").read_text() != before
    difference = call(project, "dvc", "params", "diff").stdout
    assert "texture_weight" in difference
    set_params(project, {"stage2.painting.texture_weight": 10.0})
    result = call(project, "dvc", "repro")
    assert ran(result.stdout) == []
    assert (project / "runs" / "stage2_discrete.json").read_text() == before


def test_fidelity_control_is_measured_beside_the_pipelines_own_metrics(project: Path) -> None:
    before = (project / "reports" / "metrics.json").read_bytes()
    call(project, "quantart", "evaluate", "--alpha", "0.5")
    assert (project / "reports" / "metrics.json").read_bytes() == before
    assert (project / "reports" / "fidelity" / "a0.50_b1.00" / "metrics.json").is_file()
    run_id = json.loads((project / "runs" / "stage2_discrete.json").read_text())["run_id"]
    assert any(key.startswith("eval/a0.50_b1.00/") for key in client(project).get_run(run_id).data.metrics)
    call(project, "quantart", "evaluate", "--run-id", run_id, "--alpha", "0.25")  # finds the continuous run itself
    assert (project / "reports" / "runs" / run_id / "a0.25_b1.00" / "metrics.json").is_file()


def test_serving_what_is_not_registered_is_a_sentence(project: Path) -> None:
    result = call(project, "quantart", "serve", "--model", "models:/quantart@champion", check=False)
    assert result.returncode == 2
    assert "models:/quantart@champion: no model there" in result.stderr
    assert "Traceback" not in result.stderr


def test_mistake_in_params_stops_before_any_work(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    try:
        set_params(project, {"stage2.train.crop": 64})
        result = call(project, "quantart", "train", "stage2", "--variant", "discrete", check=False)
    finally:
        (project / "params.yaml").write_text(text)
    assert result.returncode == 2
    assert "stage2.train.crop 64 is larger than the latents" in result.stderr
    assert "Traceback" not in result.stderr
