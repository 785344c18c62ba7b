"""A stage of dvc.yaml depends on just the code and the parameters that decide its result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantart.imports import PACKAGE, checksums
from quantart.pipeline.stages import STAGES
from quantart.vocabulary.names import DOMAINS, VARIANTS

ROOT = Path(__file__).parents[1]
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf8"))["stages"]
OUTSIDE = ("tracking", "pipeline/training.py", "pipeline/stage1.py", "pipeline/stage2.py", "project.py", "params")


def definition(name: str) -> dict[str, Any]:
    return DVC[name].get("do", DVC[name])


def items(name: str) -> list[str]:
    """What dvc.yaml runs the stage for: domains, variants, or once."""
    if "foreach" in DVC[name]:
        return list(DVC[name]["foreach"])
    return list(*DVC[name].get("matrix", {"": [""]}).values())


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")))


def test_all_stages_are_declared_and_each_depends_on_its_own_code() -> None:
    assert sorted(DVC) == sorted([*STAGES, "code"])
    assert sorted(DVC["code"]["outs"]) == sorted(f".quantart/code/{name}.txt" for name in STAGES)
    for name in STAGES:
        deps = definition(name)["deps"]
        assert [dep for dep in deps if dep.startswith(".quantart")] == [f".quantart/code/{name}.txt"]
        assert not [dep for dep in deps if dep.startswith(("src", "cli", "runs"))]


@pytest.mark.parametrize("name", STAGES)
def test_dvc_watches_the_parameters_that_the_stage_declares(name: str) -> None:
    assert items(name) in ([""], list(DOMAINS), list(VARIANTS))
    for item in items(name):
        watched = [key.replace("${key}", item).replace("${item.domain}", item) for key in definition(name)["params"]]
        assert sorted(watched) == sorted(STAGES[name].keys(item))


@pytest.mark.parametrize("name", STAGES)
def test_changing_any_module_that_a_stage_imports_makes_it_run(name: str, package: Path) -> None:
    before = checksums(*STAGES[name].entries, package=package)
    assert before == checksums(*STAGES[name].entries)
    assert len(before) > 10
    for file in before:
        path = package / file
        content = path.read_bytes()
        path.write_bytes(content + b"\nCHANGED = 1\n")
        assert checksums(*STAGES[name].entries, package=package) != before, file
        path.write_bytes(content)


@pytest.mark.parametrize("name", STAGES)
def test_comments_and_modules_that_a_stage_does_not_import_leave_it_as_it_is(name: str, package: Path) -> None:
    before = checksums(*STAGES[name].entries, package=package)
    others = []
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf8")
        if str(path.relative_to(package)) in before:
            path.write_text(f'"""Another docstring."""\n# and a comment\n{text}', encoding="utf8")
        else:
            path.write_text(f"{text}\nCHANGED = 1\n", encoding="utf8")
            others.append(path)
    assert others
    assert checksums(*STAGES[name].entries, package=package) == before


@pytest.mark.parametrize("name", STAGES)
def test_what_runs_a_stage_is_no_part_of_it(name: str) -> None:
    allowed = ("registry", "serving") if name == "export" else ()
    runs = [file for file in checksums(*STAGES[name].entries) if file.startswith(OUTSIDE)]
    assert not runs or allowed, runs


def test_stage_1_is_not_trained_again_when_stage_2_changed() -> None:
    stage2 = {"models/stage_2.py", "components/style_transfer.py", "components/twin_transfer.py"}
    stage2 |= {f"losses/{name}.py" for name in ("painting", "reference")}
    stage2 |= {f"training/{name}_objective.py" for name in ("painting", "reference")}
    for name in ("stage1_base", "stage1", "encode"):
        assert not stage2 & checksums(*STAGES[name].entries).keys()
    assert stage2 <= checksums(*STAGES["stage2"].entries).keys()
