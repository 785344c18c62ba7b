import io
import re
from uuid import uuid4

from mlflow import MlflowClient
from rich.console import Console

from quantart.project import Project
from quantart.registry.promotion import promote
from quantart.registry.tables import print_version, print_versions
from quantart.registry.versions import Registry

from .versions import COLOUR, PAIRS, TEXTURE, evaluate, run_id_of, values


def printed(registry: Registry, project: Project, version: str | None = None, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    if version is None:
        print_versions(registry, console)
    else:
        print_version(registry, registry.find(version), project.params().promote, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_list_shows_versions_metrics_and_moves(project: Project, name: str) -> None:
    promote(project, "1", name)
    said = printed(Registry(name), project)
    assert re.search(r"0\.8 .*\n.*± 0\.1 ", said)
    assert "abababab" in said
    assert run_id_of(name, "2")[:8] in said
    assert "version 1 promoted as the first" in said
    assert f"{PAIRS}" in said


def test_the_list_fits_80_columns(project: Project, name: str) -> None:
    more = {
        f"kd_{name}": each for name, each in [("efficientnet_lite0", values()[TEXTURE]), ("vgg16", values()[COLOUR])]
    }
    evaluate(run_id_of(name, "2"), values() | more)
    promote(project, "2", name)
    said = printed(Registry(name), project, width=80)
    table = said[: said.index(TEXTURE)]  # below it the names in full
    assert max(map(len, table.splitlines())) <= 80
    assert table.splitlines()[0].split() == ["created", "pairs,"]
    assert table.splitlines()[1].split() == ["version", "(UTC)", "run", "texture", "structure", "colour", "data"]
    for whole in ("challenger", "champion", "discrete", "abababab", "0.8", "± 0.1"):
        assert whole in table
    assert "…" not in table


def test_what_the_gates_leave_out_is_said(project: Project, name: str) -> None:
    def said() -> str:
        return " ".join(printed(Registry(name), project, "1", 80).split())

    assert "beta = 1" in said()
    assert "continuous" not in said()
    for variant in ("discrete", "continuous"):
        MlflowClient().set_model_version_tag(name, "1", f"run.{variant}", "0123")
    assert "the continuous one" in said()


def test_one_version_is_shown_with_its_limits(project: Project, name: str) -> None:
    evaluate(run_id_of(name, "2"), values(texture=2.0))
    said = printed(Registry(name), project, "2")
    assert run_id_of(name, "2") in said
    assert "FAILS <= 0.85" in said
    assert "passes <= 1.6" in said
    assert "promoted.digest" not in said
    promote(project, "1", name)
    said = printed(Registry(name), project, "1")
    assert re.search(f"promoted.digest +{'ab' * 32}\npromoted.pairs +{PAIRS}\n", said)


def test_not_evaluated_says_the_command(project: Project, name: str) -> None:
    assert f"quantart evaluate --run-id {run_id_of(name, '2')}" in printed(Registry(name), project, "2")


def test_a_model_without_versions_is_a_sentence(project: Project) -> None:
    name = uuid4().hex
    MlflowClient().create_registered_model(name)
    said = printed(Registry(name), project)
    assert name in said
    assert "`quantart export`" in said
