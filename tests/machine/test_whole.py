from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.machine.whole import whole_folder, write_whole


def test_a_file_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    for data in (b"one", b"two"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=rf"^{tmp_path}/folder: cannot be written: "):
        write_whole(tmp_path / "folder", b"data")
    with pytest.raises(UserError, match="no/file: cannot be written: No such file or directory"):
        write_whole(tmp_path / "no" / "file", b"data")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_folder_takes_its_place_at_the_end_alone(tmp_path: Path) -> None:
    out = tmp_path / "below" / "out"
    for name in ("one", "two"):
        with whole_folder(out) as fresh:
            (fresh / name).touch()
            assert [path.name for path in out.iterdir()] == ["one"] if out.exists() else name == "one"
        assert [path.name for path in out.iterdir()] == [name]
    with pytest.raises(FileNotFoundError), whole_folder(out) as fresh:
        (fresh / "no folder" / "three").touch()
    assert [path.name for path in out.iterdir()] == ["two"]
    assert list(out.parent.iterdir()) == [out]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "old").touch()
    with whole_folder(tmp_path / "out") as fresh:
        assert list(fresh.iterdir()) == []
