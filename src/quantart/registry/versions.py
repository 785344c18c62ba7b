"""What is in the model registry: the versions of a model, their aliases, and how the run behind each was evaluated.

It reads from the store that MLflow is configured for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.evaluation.resampling import Estimate
from quantart.project import Project
from quantart.registry.registered import CHALLENGER, read_registered
from quantart.reporting.run_metrics import EVALUATION, count_name, digest_name, measured_in
from quantart.tracking.lineage import run_if_there

JUDGED_BY = "promoted.digest"
"""Tag of a version that was promoted: digest of the pictures and pairs that it was judged by."""
JUDGED_ON = "promoted.pairs"
"""Likewise: how many pairs these were."""


@dataclass(frozen=True)
class Evaluation:
    """What `quantart evaluate` logged of a network at its own settings.

    Attributes:
        measured: by metric.
        n: number of pairs.
        digest: of the evaluated pictures and pairs; None: logged before there were digests.
    """

    measured: Mapping[str, Estimate]
    n: int
    digest: str | None


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        run_id: of the training run it was exported from.
        run_name: None: that run is not in the store.
        evaluation: None: that run has not been evaluated.
    """

    name: str
    number: str
    aliases: tuple[str, ...]
    created: datetime
    tags: Mapping[str, str]
    run_id: str
    run_name: str | None
    evaluation: Evaluation | None

    @property
    def variant(self) -> str:
        return self.tags.get("variant", "")


class Registry:
    """One registered model.

    Args:
        name: of the model.

    Raises:
        UserError: there is no such model.
    """

    def __init__(self, name: str) -> None:
        self._client = MlflowClient()
        self.name = name
        self.model = self._find_model()

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        return [self._version(each) for each in self._registered()]

    def find(self, wanted: str) -> Version:
        """The version of that number, or that an alias of that name points to.

        Raises:
            UserError: there is none; says which ones there are.
        """
        registered = {str(each.version): each for each in self._registered()}
        number = str(self.model.aliases.get(wanted, wanted))
        if number not in registered:
            numbers = ", ".join(registered) or "none"
            aliases = ", ".join(f"{alias} ({to})" for alias, to in sorted(self.model.aliases.items())) or "none"
            raise UserError(f"{self.name} has no version {wanted!r}; versions: {numbers}; aliases: {aliases}")
        return self._version(registered[number])

    def _registered(self) -> list[ModelVersion]:
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return sorted(found, key=lambda each: int(each.version), reverse=True)

    def _find_model(self) -> RegisteredModel:
        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            there = ", ".join(sorted(each.name for each in self._client.search_registered_models())) or "none"
            raise UserError(
                f"no registered model {self.name!r}; there are: {there}; `quantart export` registers one under "
                "export.name of params.yaml"
            ) from None

    def _version(self, found: ModelVersion) -> Version:
        run = run_if_there(found.run_id) if found.run_id else None
        number = str(found.version)
        return Version(
            name=self.name,
            number=number,
            aliases=tuple(sorted(alias for alias, to in self.model.aliases.items() if str(to) == number)),
            created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            tags=found.tags,
            run_id=found.run_id or "",
            run_name=run.info.run_name if run else None,
            evaluation=_evaluation(run) if run else None,
        )


def open_registry(project: Project, name: str | None) -> Registry:
    """The registered model `name`; by default the one that the project exports to.

    Raises:
        UserError: wrong parameters, or there is no such model.
    """
    return Registry(name or project.params().export.name)


def chosen_version(project: Project, registry: Registry, wanted: str | None) -> Version:
    """The version `wanted` (a number or an alias); by default the one in `runs/export.json`, or else the challenger.

    Raises:
        UserError: there is no such version.
    """
    if wanted is None:
        exported = read_registered(project)
        wanted = exported.version if exported and exported.name == registry.name else CHALLENGER
    return registry.find(wanted)


def _evaluation(run: Run) -> Evaluation | None:
    n = run.data.metrics.get(count_name(EVALUATION))
    if n is None:
        return None
    return Evaluation(measured_in(run.data.metrics), int(n), run.data.tags.get(digest_name(EVALUATION)))
