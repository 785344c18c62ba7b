"""Where a project's files are: one place for every path that stages share."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quantart.errors import UserError
from quantart.machine.disk import check_writable
from quantart.machine.root import real_root
from quantart.vocabulary.names import VARIANTS, Domain, Stage1Domain, Variant

if TYPE_CHECKING:
    from quantart.params import Params


@dataclass(frozen=True)
class Project:
    """A folder with `params.yaml`; everything that the pipeline reads and writes is below it."""

    root: Path
    fetched: Path | None = None
    """Folder of copies of a store's data (`quantart.data.store`), which is read in place of the folder `data`."""

    def params(self) -> Params:
        from quantart.params.file import load_params  # half a second where no parameters are needed

        return load_params(self.root / "params.yaml")

    def check_writable(self) -> None:
        """Check before the work that its results can be saved: the project and the folders that stages write to."""
        for name in ("", "data", "models", "reports", "runs", ".quantart"):
            check_writable(self.root / name)

    def source(self, domain: Domain) -> Path:
        """The user's pictures: a folder, list, table, shard or one picture.

        Raises:
            UserError: they are missing in the copy of the project that an experiment runs in, and not in the project.
        """
        return self._pictures(self.params().data.folder(domain), f"data.{domain}")

    def source_root(self, domain: Domain) -> Path | None:
        """Folder that the names in a list or table are relative to; None: the folder of the list or table."""
        table = self.params().data.table(domain)
        if table is None or table.root is None:
            return None
        return self._pictures(table.root, f"data.{domain}_table.root")

    def _pictures(self, named: str, key: str) -> Path:
        path = self.root / named
        if not path.exists() and (real_root(self.root) / named).exists():
            fault = f"{key}: {named} is not in this experiment's copy of the project"
            raise UserError(fault, f"neither git nor DVC tracks it: {tracking(named)}")
        return path

    def prepared(self, domain: Domain) -> Path:
        return self._data / "prepared" / domain

    def pairs(self, split: Literal["val", "test"]) -> Path:
        """File with the held-out pairs of a split."""
        return self._data / "pairs" / f"{split}.csv"

    def codes(self, domain: Domain) -> Path:
        return self._data / "codes" / domain

    @property
    def _data(self) -> Path:
        return self.fetched or self.root / "data"

    def stage1_model(self, domain: Stage1Domain) -> Path:
        return self.root / "models" / f"stage1_{domain}"

    def stage2_model(self, variant: Variant) -> Path:
        return self.root / "models" / f"stage2_{variant}"

    @property
    def trained_variants(self) -> list[Variant]:
        """The variants whose style transfer network is trained."""
        return [variant for variant in VARIANTS if self.stage2_model(variant).is_dir()]

    def link(self, stage: str) -> Path:
        """File with the id of the tracked run of a stage, e.g. `stage1_content`."""
        return self.root / "runs" / f"{stage}.json"

    def checkpoints(self, stage: str) -> Path:
        return self.root / ".quantart" / "checkpoints" / stage

    @property
    def code(self) -> Path:
        """Folder of the files that say which code each stage runs."""
        return self.root / ".quantart" / "code"

    @property
    def reports(self) -> Path:
        return self.root / "reports"


def tracking(named: str) -> str:
    """How pictures in the project reach the copy of it that an experiment runs in."""
    path = shlex.quote(named)
    return f"`dvc add {path}` and commit, or `dvc exp run … -C {path}`, or set an absolute path"


def find_project() -> Project:
    """The project in `$QUANTART_PROJECT`, or else the one that the current folder is in."""
    chosen = os.environ.get("QUANTART_PROJECT")
    start = Path(chosen or Path.cwd()).resolve()
    for folder in [start] if chosen else [start, *start.parents]:
        if (folder / "params.yaml").is_file():
            return Project(folder)
    raise UserError(
        f"{start}: no params.yaml here or in a folder above",
        "go to a QuantArt project, or make one: `quantart init FOLDER`",
    )


def tracked_root(project: Project | None, *, otherwise: str = "", enough: bool = True) -> Path:
    """The folder whose tracking store is used: the project's, or the current one if MLFLOW_TRACKING_URI is set.

    Without a project, `enough` says whether all else was given that is needed then; `otherwise` names it in the remedy.
    """
    if project is not None:
        return project.root
    if not enough or not os.environ.get("MLFLOW_TRACKING_URI"):
        remedy = f"go to a QuantArt project, or set MLFLOW_TRACKING_URI{otherwise}"
        raise UserError(f"{Path.cwd()}: no params.yaml here or in a folder above", remedy)
    return Path.cwd()


def project_if_any() -> Project | None:
    """As `find_project`, but None if there is none; a `$QUANTART_PROJECT` without a project still raises."""
    try:
        return find_project()
    except UserError:
        if os.environ.get("QUANTART_PROJECT"):
            raise
        return None
