"""Files that several processes make together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.machine.claim import claimed


def test_a_file_is_made_by_whoever_claims_it_first(tmp_path: Path) -> None:
    with claimed(tmp_path / "a") as first:
        with claimed(tmp_path / "a") as second, claimed(tmp_path / "b") as other:
            assert (first, second, other) == (True, False, True)
        (tmp_path / "a").write_text("made")
    with claimed(tmp_path / "a") as again:
        assert not again
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_the_claim_of_a_process_that_died_ends(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with claimed(tmp_path / "a"):
            os._exit(0)
    os.waitpid(child, 0)
    with claimed(tmp_path / "a") as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_one_that_could_not_make_it_leaves_it_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), claimed(tmp_path / "a"):
        raise ValueError("broken")
    with claimed(tmp_path / "a") as ours:
        assert ours


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error, claimed(tmp_path / "file" / "a"):
        pass
    assert error.value.fault.startswith(str(tmp_path / "file" / "a"))
