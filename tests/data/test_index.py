"""The index of a prepared folder."""

from __future__ import annotations

import pytest

from quantart.data.pictures import IndexRow, read_index, write_index
from quantart.errors import UserError

ROWS = [
    IndexRow('a,"b"\r\n\n\t🐼\rc.jpg', "0" * 64, "train", 2, 3, 0),
    IndexRow("é\ré.jpg", "f" * 64, "test", 1, 1, 18),
]


@pytest.fixture
def folder(tmp_path):
    write_index(tmp_path, ROWS)
    (tmp_path / "pictures.bin").write_bytes(bytes(21))
    return tmp_path


def test_rows_are_read_as_they_were_written(folder):
    assert read_index(folder) == ROWS
    assert [row.bytes for row in ROWS] == [18, 3]


@pytest.mark.parametrize("size", [0, 20, 22])
def test_a_packed_file_of_another_size_is_refused(folder, size):
    (folder / "pictures.bin").write_bytes(bytes(size))
    with pytest.raises(UserError, match=f"pictures.bin: .*{size} .*21; .*quantart prepare"):
        read_index(folder)


def test_a_missing_packed_file_is_refused(folder):
    (folder / "pictures.bin").unlink()
    with pytest.raises(UserError, match="pictures.bin: .*0 bytes.*21"):
        read_index(folder)


@pytest.mark.parametrize(
    "text",
    ["", "file,sha256\n", "file,sha256,split,height,width,offset\n", "a,b,c,d,e,f\nx,y,train,1,1,0\n"],
)
def test_another_or_empty_table_is_refused(folder, text):
    (folder / "index.csv").write_text(text)
    with pytest.raises(UserError, match=r"index\.csv: .*; .*quantart prepare"):
        read_index(folder)


@pytest.mark.parametrize("line", ["x,y,train,1", "x,y,train,one,1,0", '"x'])
def test_a_damaged_row_is_refused(folder, line):
    with (folder / "index.csv").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=r"index\.csv: damaged; .*quantart prepare"):
        read_index(folder)
