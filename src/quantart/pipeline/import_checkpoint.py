"""Import: a checkpoint of the reference or of Taming Transformers as a folder our models load, and as a tracked run.

It is no stage of dvc.yaml, but does what a stage does: it reads the project's parameters and logs a network as a run.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from quantart.errors import UserError
from quantart.machine.whole import fresh_folder, put_in_place, remove
from quantart.models.folder import DISCRIMINATOR, WEIGHTS, file_sha256
from quantart.models.pretrained import save_weights
from quantart.models.reference import Imported, Network, open_reference
from quantart.models.reference_config import Settings, read_config
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Params
from quantart.params.model import ModelParams
from quantart.params.training import TransferNetworkParams
from quantart.pipeline.trained import IMPORTED
from quantart.pipeline.training import WEIGHTS_TAG
from quantart.project import Project
from quantart.tracking.links import RunLink
from quantart.tracking.writer import new_run

log = logging.getLogger(__name__)


def run(
    project: Project | None,
    checkpoint: Path,
    out: Path,
    *,
    config: Path | None = None,
    resolution: int | None = None,
    legacy: bool = True,
    residual: bool | None = None,
    continuous: bool = False,
    ema: bool = False,
    prefix: str | None = None,
) -> str | None:
    """Write the network in `checkpoint` to the folder `out`; inside a project, log it as a run like a training run.

    For `config`, a YAML file in the reference's layout, and the options see `Settings`. Returns the run's id. After a
    fault, `out` is as it was.
    """
    # first, so that another program's params.yaml gets no tracking store beside it
    params = project.params() if project else None
    folder = _free(out)
    settings = Settings(resolution, residual, legacy, read_config(config) if config else {}, continuous, ema, prefix)
    imported = open_reference(checkpoint, settings)
    with _written(imported, folder):
        run_id = _log(project, checkpoint, imported, folder) if project else None
    _report(imported, checkpoint, out, run_id)
    if not isinstance(imported.network, ExperimentStage2):
        _report_training(imported.network, folder, project, params)
    return run_id


def _free(out: Path) -> Path:
    """`out` made absolute, which gives `.` a name."""
    try:
        folder = out.resolve()
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise UserError(f"{out}: cannot be written: {error}", "give another folder") from None
    if taken:
        raise UserError(f"{out}: is there already", "give a folder that is new or empty")
    return folder


@contextmanager
def _written(imported: Imported, out: Path) -> Iterator[None]:
    """The folder `out` with the network; if what is done with it fails, all is as it was."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        try:
            _write(imported, out)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{out}: cannot be written: {reason}", "give another folder") from None
        yield
    except BaseException:
        for file in out.iterdir() if out.is_dir() else ():
            file.unlink()
        for folder in made:
            with suppress(OSError):  # it is not there, or another program has filled it
                folder.rmdir()
        raise


def _write(imported: Imported, out: Path) -> None:
    """Under another name first, so that `out` is never half a model."""
    # an empty folder is filled, not replaced: it may be the current one, or the only one that may be written to
    place = out / "model" if out.exists() else out
    fresh = fresh_folder(place)
    try:
        imported.network.save_pretrained(fresh)
        if imported.discriminator is not None:
            save_weights(imported.discriminator, fresh / DISCRIMINATOR)
        if place == out:
            put_in_place(out)
        else:
            for file in list(fresh.iterdir()):
                file.rename(out / file.name)
    finally:
        remove(fresh)


def _log(project: Project, checkpoint: Path, imported: Imported, folder: Path) -> str:
    network, family = imported.network, "stage1"
    side = network.config["ddconfig"]["resolution"]
    params: dict[str, Any] = {"data": {"resolution": side}, "model": _model(network)}
    if isinstance(network, ExperimentStage2):
        family = "stage2"
        shape = {key: network.config[key] for key in TransferNetworkParams.model_fields}
        params |= {"network": shape, "variant": network.variant}
    tags = {
        IMPORTED: checkpoint.name,
        "imported.sha256": file_sha256(checkpoint),
        WEIGHTS_TAG: file_sha256(folder / WEIGHTS),
    }
    if imported.prefix:
        tags["imported.prefix"] = imported.prefix
    # with no store there is no import: unlike training, it is soon done again
    with new_run(project.root, family=family, name=f"import_{checkpoint.stem}", params=params) as run:
        run.set_tags(tags)
        run.artifact(folder, RunLink.model)
    return run.run_id


def _model(network: Network) -> dict[str, Any]:
    """`model` of params.yaml for such a network."""
    arguments = network.config | network.config["ddconfig"]
    return {key: arguments[key] for key in ModelParams.model_fields if key in arguments}


def _report(imported: Imported, checkpoint: Path, out: Path, run_id: str | None) -> None:
    """Say what it was, what was left out or assumed, and what can be done with it."""
    network = imported.network
    config, side = network.config, network.config["ddconfig"]["resolution"]
    kind = f"{network.variant} style transfer" if isinstance(network, ExperimentStage2) else "VQGAN"
    codes = "" if kind.startswith("continuous") else f", {config['n_embed']} codes of {config['embed_dim']}"
    log.info("%s: %s%s, %d pixels -> %s", checkpoint, kind, codes, side, out)
    if imported.prefix:
        log.info("found under the prefix %s", imported.prefix)
    if imported.gumbel:
        log.info(
            "its Gumbel codebook became nearest codes of %d numbers: a picture gets its most probable codes, and they "
            "decode as before; no VQGAN can be trained further from it",
            config["embed_dim"],
        )
    if isinstance(network, ExperimentStage2):
        inferred = ", ".join(f"{name} {config[name]}" for name in ("variant", "block_num", "use_conv", "use_selfatt"))
        log.info("inferred from its keys: %s", inferred)
    for name, count in imported.dropped.items():
        log.info("left out: %d tensors of the %s", count, name)
    for name, value in imported.assumed.items():
        log.info("assumed, since the weights do not show it: %s %s (an option or --config says otherwise)", name, value)
    if run_id is None:
        log.info("no project here, so no run was logged")
    else:
        log.info("logged as MLflow run %s\nmeasure it: quantart evaluate --run-id %s", run_id, run_id)
    if isinstance(network, ExperimentStage2):
        if run_id is not None:
            log.info("register it: quantart export --run-id %s", run_id)
        model = shlex.quote(str(out))
        log.info("use it: quantart stylize PHOTO --style PAINTING --out OUT.png --model %s", model)


def _report_training(network: Network, folder: Path, project: Project | None, params: Params | None) -> None:
    """Say what params.yaml needs for training from a VQGAN, and what to do where it names the folder already."""
    root = project.root.resolve() if project else folder
    named = folder.relative_to(root) if project and folder.is_relative_to(root) else folder
    side = network.config["ddconfig"]["resolution"]
    shape = yaml.safe_dump({"model": _model(network)}, sort_keys=False, default_flow_style=None).rstrip()
    log.info(
        "fine-tune from it: in params.yaml set stage1.init_from: %s, data.resolution: %d, and\n%s", named, side, shape
    )
    given = params.stage1.given_vqgans if params else {}
    takers = [domain for domain, name in given.items() if project and (project.root / name).resolve() == folder]
    if takers:
        stages = ["stage1_base" if domain == "base" else f"stage1@{domain}" for domain in takers]
        again = f"dvc repro --single-item --force {' '.join(stages)} && dvc repro"
        log.info(
            "params.yaml names %s already; DVC sees only the name, so if its stages have run, run them again: %s",
            named,
            again,
        )
