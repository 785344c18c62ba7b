from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.project import Project
from quantart.registry.versions import (
    RegisteredVersion,
    Registry,
    default_address,
    read_registered,
    write_registered,
)

from .versions import COLOUR, PAIRS, ROOT, STRUCTURE, TEXTURE, run_id_of


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
    assert set(first.evaluation.measured) == {STRUCTURE, TEXTURE, COLOUR}  # no baseline, no other setting
    texture = first.evaluation.measured[TEXTURE]
    assert (texture.value, texture.low, texture.high) == pytest.approx((0.8, 0.7, 0.9))


def test_a_version_is_found_by_number_by_alias_and_by_the_name_of_its_run(name: str) -> None:
    registry = Registry(name)
    assert registry.find("stage2_discrete").number == "2"  # the newest
    assert registry.find("challenger").number == "2"
    assert registry.find("1").number == "1"
    with pytest.raises(UserError) as refused:
        registry.find("best")
    assert "'best'" in refused.value.fault
    assert refused.value.remedy == "versions: 2, 1; aliases: challenger (2)"


def test_without_a_project_the_model_that_comes_with_the_package_is_served() -> None:
    assert default_address(None) == "quantart/open"


@pytest.fixture
def exporting(tmp_path: Path) -> Project:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "runs").mkdir()
    return Project(tmp_path)


def test_the_version_that_the_project_made_is_served_whatever_the_alias_points_to(exporting: Project) -> None:
    registered = RegisteredVersion("painter", "7", "challenger", "3f2a")
    write_registered(exporting, registered)
    assert read_registered(exporting) == registered
    assert default_address(exporting) == "models:/painter/7"


def test_before_the_first_export_it_is_the_challenger(exporting: Project) -> None:
    assert read_registered(exporting) is None
    assert default_address(exporting) == "models:/quantart@challenger"


@pytest.mark.parametrize("text", ["", "[1]", '{"name": "painter"}'])
def test_a_damaged_record_is_named(text: str, exporting: Project) -> None:
    exporting.link("export").write_text(text)
    with pytest.raises(UserError) as refused:
        read_registered(exporting)
    assert refused.value.fault.startswith(f"{exporting.link('export')}: ")
    assert "`quantart export`" in refused.value.remedy
