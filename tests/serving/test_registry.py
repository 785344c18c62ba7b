import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from rich.console import Console

from quantart.errors import UserError
from quantart.project import Project
from quantart.serving.promotion import promote
from quantart.serving.registry import Registry
from quantart.serving.registry_tables import print_version, print_versions

from .versions import COLOUR, GRAM, PAIRS, PERCEPTUAL, add_version, evaluate, own_store, run_id_of, values


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with own_store(tmp_path_factory.mktemp("project")) as project:
        yield project


@pytest.fixture
def name(project: Project) -> str:
    """A registered model with an evaluated version and one that is not."""
    name = uuid4().hex
    add_version(name, values())
    add_version(name)
    return name


def printed(registry: Registry, project: Project, version: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=160)
    if version is None:
        print_versions(registry, console)
    else:
        print_version(registry, registry.find(version), project.params().promote, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_versions_come_newest_first_with_what_was_measured(name: str) -> None:
    second, first = Registry(name).versions()
    assert (second.number, second.aliases, second.variant, second.evaluation) == (
        "2",
        ("challenger",),
        "discrete",
        None,
    )
    assert (first.number, first.aliases, first.run_name) == ("1", (), "stage2_discrete")
    assert first.run_id == run_id_of(name, "1")
    assert abs((datetime.now(UTC) - first.created).total_seconds()) < 3600
    assert first.evaluation is not None
    assert (first.evaluation.n, first.evaluation.digest) == (PAIRS, "ab" * 32)
    assert set(first.evaluation.measured) == {PERCEPTUAL, GRAM, COLOUR}  # no baseline, no other setting
    gram = first.evaluation.measured[GRAM]
    assert (gram.value, gram.low, gram.high) == pytest.approx((0.95, 0.85, 1.05))


def test_a_version_is_found_by_number_and_by_alias(name: str) -> None:
    registry = Registry(name)
    assert registry.find("challenger").number == "2"
    assert registry.find("1").number == "1"
    with pytest.raises(UserError, match=r"no version 'best'; versions: 2, 1; aliases: challenger \(2\)"):
        registry.find("best")


def test_the_list_shows_versions_metrics_and_moves(project: Project, name: str) -> None:
    promote(project, "1", name)
    said = printed(Registry(name), project)
    assert "0.95 ± 0.1" in said
    assert "abababab" in said
    assert run_id_of(name, "2")[:8] in said
    assert "version 1 promoted as the first" in said
    assert f"{PAIRS}" in said


def test_one_version_is_shown_with_its_limits(project: Project, name: str) -> None:
    evaluate(run_id_of(name, "2"), values(gram=2.0))
    said = printed(Registry(name), project, "2")
    assert run_id_of(name, "2") in said
    assert "FAILS <= 1.1" in said
    assert "passes <= 6" in said
    assert "promoted.digest" not in said
    promote(project, "1", name)
    assert re.search(f"promoted.digest +{'ab' * 32}", printed(Registry(name), project, "1"))


def test_not_evaluated_says_the_command(project: Project, name: str) -> None:
    assert f"not evaluated: quantart evaluate --run-id {run_id_of(name, '2')}" in printed(Registry(name), project, "2")


def test_a_model_without_versions_is_a_sentence(project: Project) -> None:
    name = uuid4().hex
    MlflowClient().create_registered_model(name)
    assert printed(Registry(name), project) == f"{name} has no version; `quantart export` makes one\n"
