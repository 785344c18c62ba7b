"""The prepared folder at a glance."""

from __future__ import annotations

from PIL import Image

from quantart.data.files import PictureFile
from quantart.data.index import read_files, write_index
from quantart.data.packing import Geometry, write_shards
from quantart.data.prepare import CELL, COLUMNS, ROWS_PER_SPLIT, contact_sheet


def test_it_shows_pictures_spread_over_each_split(tmp_path):
    files = []
    for shade in range(100):
        path = tmp_path / f"{shade:02}.png"
        Image.new("RGB", (4, 4), (shade, shade, shade)).save(path)
        files.append(PictureFile(path.name, path))
    folder = tmp_path / "prepared"
    folder.mkdir()
    list(write_shards(files, Geometry(4, 2.0, 100), folder, workers=1))
    write_index(folder, read_files(folder, 100), {"train": range(96), "val": range(96, 100)})  # none of test
    sheet = contact_sheet(folder)
    step = CELL + 4
    left = sheet.shape[1] - COLUMNS * step
    assert sheet.shape[0] == 4 + (ROWS_PER_SPLIT + 1) * step
    centres = sheet[4 + CELL // 2 :: step, left + CELL // 2 :: step, 0]
    assert centres[:3].ravel().tolist() == [i * 96 // 30 for i in range(30)]
    assert centres[3].tolist() == [96, 97, 98, 99, 255, 255, 255, 255, 255, 255]
