"""Import: a checkpoint of the reference or of Taming Transformers as a folder our models load, and as a tracked run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from quantart.errors import UserError
from quantart.models.pretrained import DISCRIMINATOR, file_sha256, save_weights
from quantart.models.reference import Imported, Network, Settings, open_reference, read_config
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.tracking.runs import stage_run


def run(
    project: Project | None,
    checkpoint: Path,
    out: Path,
    *,
    config: Path | None = None,
    resolution: int | None = None,
    legacy: bool = True,
    residual: bool | None = None,
) -> str | None:
    """Write the network in `checkpoint` to the folder `out`; inside a project, log it as a run like a training run.

    Args:
        project: where runs are tracked; None: only the folder is written.
        config: YAML file in the reference's layout.
        resolution, legacy, residual: see `Settings`.

    Returns:
        Id of the run, None without a project.

    Raises:
        UserError: `out` is there already, or the checkpoint can't be opened; `out` is then as it was.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; give a folder that is new or empty")
    settings = Settings(resolution, residual, legacy, read_config(config) if config else {})
    imported = open_reference(checkpoint, settings)
    with _written(imported, out) as fresh:
        run_id = _log(project, checkpoint, imported, fresh) if project else None
    _report(imported, checkpoint, out if project is None else _in_project(project, out), run_id)
    return run_id


@contextmanager
def _written(imported: Imported, out: Path) -> Iterator[Path]:
    """The folder while it is still under another name; it becomes `out` when all else has worked."""
    fresh = out.with_name(f".{out.name}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        imported.network.save_pretrained(fresh)
        if imported.discriminator is not None:
            save_weights(imported.discriminator, fresh / DISCRIMINATOR)
        yield fresh
        if out.exists():
            out.rmdir()
        fresh.rename(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}; give another folder") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _log(project: Project, checkpoint: Path, imported: Imported, folder: Path) -> str:
    network = imported.network
    second = isinstance(network, ExperimentStage2)
    ours = {"network": _transfer(network), "variant": network.variant} if isinstance(network, ExperimentStage2) else {}
    parameters = {"resolution": network.config["ddconfig"]["resolution"], "model": _model(network), **ours}
    name = f"import_{checkpoint.stem}"
    with stage_run(project.root, stage="stage2" if second else "stage1", name=name, params=parameters) as run:
        run.set_tags({"imported.file": checkpoint.name, "imported.sha256": file_sha256(checkpoint)})
        run.artifact(folder, "model")
    return run.run_id


def _model(network: Network) -> dict[str, Any]:
    """`model` of params.yaml for such a network."""
    config, ddconfig = network.config, network.config["ddconfig"]
    shape = {key: ddconfig[key] for key in ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "z_channels")}
    return shape | {"embed_dim": config["embed_dim"], "n_embed": config["n_embed"], "dropout": ddconfig["dropout"]}


def _in_project(project: Project, out: Path) -> Path:
    """As params.yaml would name the folder."""
    out = out.resolve()
    return out.relative_to(project.root.resolve()) if out.is_relative_to(project.root.resolve()) else out


def _transfer(network: ExperimentStage2) -> dict[str, Any]:
    return {key: network.config[key] for key in ("block_num", "residual", "use_conv", "use_selfatt", "adain_start")}


def _report(imported: Imported, checkpoint: Path, out: Path, run_id: str | None) -> None:
    """Say what it was, what was left out or assumed, and what can be done with it."""
    network = imported.network
    config, side = network.config, network.config["ddconfig"]["resolution"]
    kind = f"{network.variant} style transfer" if isinstance(network, ExperimentStage2) else "VQGAN"
    print(f"{checkpoint}: {kind}, {config['n_embed']} codes of {config['embed_dim']}, {side} pixels -> {out}")
    for name, count in imported.dropped.items():
        print(f"left out: {count} tensors of the {name}")
    for name, value in imported.assumed.items():
        print(f"assumed, since the weights do not show it: {name} {value} (an option or --config says otherwise)")
    print("no project here, so no run was logged" if run_id is None else f"logged as MLflow run {run_id}")
    if run_id is not None:
        print(f"measure it: quantart evaluate --run-id {run_id}")
    if isinstance(network, ExperimentStage2):
        if run_id is not None:
            print(f"register it: quantart export --run-id {run_id}")
        print(f"use it: quantart stylize PHOTO --style PAINTING --out OUT.png --model {out}")
        return
    shape = yaml.safe_dump({"model": _model(network)}, sort_keys=False, default_flow_style=None)
    print(
        f"fine-tune from it: in params.yaml set stage1.init_from: {out}, data.resolution: {side}, and\n{shape}", end=""
    )
