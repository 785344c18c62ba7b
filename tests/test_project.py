"""Finding the project and the places in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.project import Project, find_project

SHIPPED = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture(autouse=True)
def _no_chosen_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUANTART_PROJECT", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "data" / "raw").mkdir(parents=True)
    shutil.copy(SHIPPED, root)
    return root


def test_found_from_its_root_and_from_any_folder_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (root, root / "data" / "raw"):
        monkeypatch.chdir(folder)
        assert find_project() == Project(root)


def test_the_environment_chooses_it_from_anywhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTART_PROJECT", "project")
    assert find_project() == Project(root)


def test_outside_of_one_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_project()
    assert caught.value.fault.startswith(f"{tmp_path}: no params.yaml")
    assert caught.value.remedy


def test_a_chosen_folder_is_not_searched_upwards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("QUANTART_PROJECT", str(root / "data"))
    with pytest.raises(UserError, match="no params.yaml"):
        find_project()


def test_pictures_may_lie_inside_or_outside_the_project(root: Path) -> None:
    text = SHIPPED.read_text().replace("data/sample/photos", "mine").replace("data/sample/paintings", "/elsewhere")
    (root / "params.yaml").write_text(text)
    assert Project(root).source("content") == root / "mine"
    assert Project(root).source("style") == Path("/elsewhere")


def test_pictures_that_an_experiments_copy_lacks_are_named_with_the_way_out(root: Path) -> None:
    copy = root / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1a2b"
    copy.mkdir(parents=True)
    settings = (root / "params.yaml").read_text().replace("style_table: null", "style_table: {root: my pictures}")
    settings = settings.replace("data/sample/photos", "mine").replace("data/sample/paintings", "list.csv")
    for folder in (root, copy):
        (folder / "params.yaml").write_text(settings)
    assert Project(copy).source("content") == copy / "mine"  # missing here and there: not because of the copy
    for name in ("mine", "my pictures"):
        (root / name).mkdir()
    with pytest.raises(UserError, match=r"^data\.content: mine ") as error:
        Project(copy).source("content")
    assert "`dvc add mine`" in error.value.remedy
    with pytest.raises(UserError, match=r"^data\.style_table\.root: my pictures ") as error:
        Project(copy).source_root("style")
    assert "`dvc add 'my pictures'`" in error.value.remedy
    assert Project(root).source("content") == root / "mine"


def test_every_place_is_where_the_pipeline_declares_it() -> None:
    project = Project(Path("p"))
    declared = (SHIPPED.parent / "dvc.yaml").read_text()
    for place in (
        project.prepared("content").parent / "${key}",
        project.codes("content").parent / "${item.domain}",
        project.stage1_model("base"),
        project.link("stage1_base"),
        project.reports / "metrics.json",
        project.link("export"),
    ):
        assert f"- {place.relative_to('p')}\n" in f"{declared}\n"
    assert project.stage1_model("style") == Path("p/models/stage1_style")
    assert project.stage2_model("discrete") == Path("p/models/stage2_discrete")
    assert project.link("stage2_continuous") == Path("p/runs/stage2_continuous.json")
    assert project.checkpoints("stage1_base").parts[1] == ".quantart"
