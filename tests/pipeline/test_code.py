"""The stage `code` in an experiment's copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from quantart.errors import UserError
from quantart.pipeline.code import run
from quantart.project import Project

from ..defaults import from_scratch


def test_in_a_copy_that_lacks_the_pictures_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    """DVC, which looks for them next, says nothing but a path."""
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1a2b"
    copy.mkdir(parents=True)
    params = from_scratch()
    params["data"] |= {"content": "mine", "style": "list.txt", "style_table": {"root": "art"}}
    (copy / "params.yaml").write_text(yaml.safe_dump(params))
    for missing in ("art", "mine"):
        (tmp_path / missing).mkdir()
        with pytest.raises(UserError, match=f": {missing} is not in this experiment's copy .*`dvc add {missing}`"):
            run(Project(copy))
        assert not Project(copy).code.exists()
        (copy / missing).mkdir()
    run(Project(copy))
    assert (Project(copy).code / "stage2.txt").is_file()
