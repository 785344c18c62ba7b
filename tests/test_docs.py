"""The map from the paper to the code is true, and so are the three ways through the code."""

from __future__ import annotations

import ast
import re
import subprocess
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from quantart.data.sources import find_pictures
from quantart.project import Project
from quantart.vocabulary.names import Domain

DOCS = Path(__file__).parents[1] / "docs"


class Row(NamedTuple):
    name: str
    file: Path


def rows() -> list[Row]:
    """The table's rows: the name in code, and the file that its link leads to."""
    found = []
    for line in (DOCS / "research-to-code.md").read_text(encoding="utf8").splitlines():
        if line.startswith("|") and "](" in line:
            *_, name, link, _ = (cell.strip() for cell in line.split("|"))
            text, target = re.fullmatch(r"\[`(.+)`\]\((.+)\)", link).groups()  # type: ignore[union-attr]
            assert target == f"../{text}"
            found.append(Row(name.strip("`"), DOCS / target))
    return found


def names_in(source: str) -> set[str]:
    """Everything a module defines: `Class`, `function`, `Class.method` and `self.attribute`."""
    names = set()
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets if isinstance(target, ast.Attribute)}
    return names


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_the_name_is_in_its_file(row: Row) -> None:
    assert row.name in names_in(row.file.read_text(encoding="utf8"))


def stops() -> list[tuple[str, str]]:
    """File and name of each stop on the three ways through the code."""
    text = (DOCS / "architecture.md").read_text(encoding="utf8")
    section = text.partition("## Three ways through the code")[2].partition("\n## ")[0]
    found = []
    for line in re.findall(r"^\d+\. (.+)$", section, re.MULTILINE):
        for named in re.findall(r"`([^`]+)`", line.partition(" – ")[0]):
            if named.endswith(".py"):
                file = named
            else:
                found.append((file, named))
    return found


@pytest.mark.parametrize(("file", "name"), stops(), ids="-".join)
def test_a_way_through_the_code_leads_to_names_that_are_there(file: str, name: str) -> None:
    module = ".".join(Path(file).with_suffix("").parts)
    module = module.removeprefix("cli.") if file.startswith("cli/") else f"quantart.{module}"
    assert attrgetter(name)(import_module(module)) is not None


def test_the_ways_through_the_code_have_stops() -> None:
    assert len(stops()) > 25


def test_every_concept_of_the_paper_has_its_row() -> None:
    assert {row.name for row in rows()} >= {
        "ExperimentStage1",
        "ExperimentStage2",
        "self.encoder",
        "self.encoder_real",
        "self.decoder",
        "VectorQuantizer",
        "self.embedding",
        "VectorQuantizer.forward",
        "StyleTransferModule",
        "calc_content_loss",
        "calc_style_loss",
        "ReferenceLoss",
        "NLayerDiscriminator",
        "LPIPS",
    }


def test_the_sources_of_pictures_work_as_written(tmp_path: Path) -> None:
    text = (DOCS / "data.md").read_text(encoding="utf8")
    (tmp_path / "data").symlink_to(DOCS.parent / "data")
    for commands in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True)
    shipped = yaml.safe_load((DOCS.parent / "params.yaml").read_text())
    counts = []
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        changes = yaml.safe_load(block)["data"]
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(shipped | {"data": shipped["data"] | changes}))
        project = Project(tmp_path)
        domain: Domain = "content" if "content" in changes else "style"
        if project.source(domain).exists():
            table = project.params().data.table(domain)
            found = find_pictures(project.source(domain), table, project.source_root(domain))
            counts.append(len(found.pictures))
    assert counts == [57, 40, 6, 75, 1]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []
