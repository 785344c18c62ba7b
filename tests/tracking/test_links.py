from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.tracking.links import RunLink, read_link, write_link


def test_a_link_reads_as_it_was_written(tmp_path: Path) -> None:
    link = RunLink(stage="stage2_discrete", run_id="3f2a", experiment="quantart")
    path = tmp_path / "runs" / "stage2_discrete.json"
    write_link(path, link)
    assert read_link(path) == link
    assert [file.name for file in path.parent.iterdir()] == ["stage2_discrete.json"]
    cached = tmp_path / "cached"
    cached.hardlink_to(path)  # as DVC's cache may have it
    write_link(path, RunLink(stage="stage2_discrete", run_id="81d0", experiment="quantart"))
    assert (read_link(cached), read_link(path).run_id) == (link, "81d0")


def test_what_another_version_wrote_beside_it_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "stage1_base.json"
    path.write_text('{"stage": "stage1_base", "run_id": "3f2a", "experiment": "quantart", "metrics": {}}')
    assert read_link(path) == RunLink("stage1_base", "3f2a", "quantart")


def test_a_stage_that_has_not_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stage1_base\.json: not found; .*has not run"):
        read_link(tmp_path / "stage1_base.json")


@pytest.mark.parametrize("text", ["", "[1]", '{"stage": "stage1_base"}', '{"unknown": 1}'])
def test_a_damaged_link_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "stage1_base.json").write_text(text)
    with pytest.raises(UserError, match=r"stage1_base\.json: not a link to a run"):
        read_link(tmp_path / "stage1_base.json")
