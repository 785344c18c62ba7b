"""The versions of a registered model: their aliases, and how the run behind each was evaluated.

They are read from the store that MLflow is configured for. `runs/export.json`, an ordinary output of the pipeline,
says which version this project made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.evaluation.estimates import Estimate
from quantart.machine.whole import write_whole
from quantart.models.shipped import SHIPPED
from quantart.project import Project
from quantart.reporting.run_metrics import EVALUATION, count_name, digest_name, measured_in
from quantart.tracking.find import run_if_there

CHALLENGER = "challenger"
JUDGED_BY, JUDGED_ON = "promoted.digest", "promoted.pairs"
"""Tags of a promoted version: digest of the pictures and pairs that it was judged by, and how many pairs these were."""


@dataclass(frozen=True)
class RegisteredVersion:
    """What an export registered."""

    name: str
    version: str
    alias: str  # pointed to it when it was made; a later version may have it by now
    run_id: str  # of the training run it was exported from

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def write_registered(project: Project, registered: RegisteredVersion) -> None:
    """Write `runs/export.json`."""
    write_whole(project.link("export"), f"{json.dumps(asdict(registered), indent=2)}\n".encode())


def read_registered(project: Project) -> RegisteredVersion | None:
    """The version that the project's last export made; None before the first one."""
    path = project.link("export")
    if not path.is_file():
        return None
    try:
        return RegisteredVersion(**json.loads(path.read_text(encoding="utf8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the record of an export ({error})", "`quantart export` writes it anew") from None


def default_address(project: Project | None) -> str:
    """What is served by default: the version in `runs/export.json`, else the alias `challenger`.

    DVC restores that file with the rest of an older state, but can't move the alias. Without a project it is the model
    that comes with the package.
    """
    if project is None:
        return SHIPPED
    registered = read_registered(project)
    return registered.uri if registered else f"models:/{project.params().export.name}@{CHALLENGER}"


def registered_addresses() -> list[str]:
    """`models:/name@alias` of every alias in the store, then `models:/name/number` of every version, newest first."""
    models = sorted(MlflowClient().search_registered_models(), key=lambda model: model.name)
    versions = {model.name: MlflowClient().search_model_versions(f"name = '{model.name}'") for model in models}
    return [f"models:/{model.name}@{alias}" for model in models for alias in sorted(model.aliases)] + [
        f"models:/{name}/{number}"
        for name, found in versions.items()
        for number in sorted((int(each.version) for each in found), reverse=True)
    ]


@dataclass(frozen=True)
class Evaluation:
    """What `quantart evaluate` logged of a network at its own settings."""

    measured: Mapping[str, Estimate]  # by metric
    n: int  # pairs
    digest: str | None  # of the evaluated pictures and pairs; None: logged before there were digests


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    name: str
    number: str
    aliases: tuple[str, ...]
    created: datetime
    tags: Mapping[str, str]
    run_id: str  # of the training run it was exported from
    run_name: str | None  # None: that run is not in the store
    evaluation: Evaluation | None  # None: that run has not been evaluated

    def __str__(self) -> str:
        return f"version {self.number}"

    @property
    def variant(self) -> str:
        return self.tags.get("variant", "")

    @property
    def evaluate(self) -> str:
        """The command that evaluates it."""
        return f"quantart evaluate --run-id {self.run_id}"


class Registry:
    """One registered model; a `UserError` says which models there are if it is not among them."""

    def __init__(self, name: str) -> None:
        self.name = name
        client = MlflowClient()
        try:
            self.model: RegisteredModel = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            there = ", ".join(sorted(each.name for each in client.search_registered_models())) or "none"
            remedy = f"there are: {there}; `quantart export` registers one under export.name of params.yaml"
            raise UserError(f"no registered model {name!r}", remedy) from None

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        return [self._version(each) for each in self._registered()]

    def find(self, wanted: str) -> Version:
        """The version of that number, the one that an alias of that name points to, or the newest of a run's name."""
        registered = {str(each.version): each for each in self._registered()}
        number = str(self.model.aliases.get(wanted, wanted))
        if number not in registered:
            for version in map(self._version, registered.values()):
                if version.run_name and wanted in (version.run_name, version.run_name.partition("@")[0]):
                    return version
            numbers = ", ".join(registered) or "none"
            aliases = ", ".join(f"{alias} ({to})" for alias, to in sorted(self.model.aliases.items())) or "none"
            raise UserError(f"{self.name} has no version {wanted!r}", f"versions: {numbers}; aliases: {aliases}")
        return self._version(registered[number])

    def _registered(self) -> list[ModelVersion]:
        found = MlflowClient().search_model_versions(f"name = '{self.name}'")
        return sorted(found, key=lambda each: int(each.version), reverse=True)

    def _version(self, found: ModelVersion) -> Version:
        number = str(found.version)
        run = run_if_there(found.run_id) if found.run_id else None
        evaluation = None
        if run and (n := run.data.metrics.get(count_name(EVALUATION))) is not None:
            digest = run.data.tags.get(digest_name(EVALUATION))
            evaluation = Evaluation(measured_in(run.data.metrics), int(n), digest)
        return Version(
            name=self.name,
            number=number,
            aliases=tuple(sorted(alias for alias, to in self.model.aliases.items() if str(to) == number)),
            created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            tags=found.tags,
            run_id=found.run_id or "",
            run_name=run.info.run_name if run else None,
            evaluation=evaluation,
        )


def open_registry(project: Project, name: str | None) -> Registry:
    """The registered model `name`; by default the one that the project exports to."""
    return Registry(name or project.params().export.name)


def chosen_version(project: Project, registry: Registry, wanted: str | None) -> Version:
    """The version `wanted`, a number or an alias; by default the one in `runs/export.json`, else the challenger."""
    if wanted is None:
        exported = read_registered(project)
        wanted = exported.version if exported and exported.name == registry.name else CHALLENGER
    return registry.find(wanted)
