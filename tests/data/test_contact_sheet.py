"""The prepared folder at a glance."""

from __future__ import annotations

import numpy as np

from quantart.data.pictures import IndexRow, write_index
from quantart.data.prepare import CELL, COLUMNS, ROWS_PER_SPLIT, contact_sheet


def test_it_shows_pictures_spread_over_each_split(tmp_path):
    shades = np.arange(100, dtype=np.uint8)  # 96 of train, 4 of val, none of test
    (tmp_path / "pictures.bin").write_bytes(shades.repeat(4 * 4 * 3).tobytes())
    splits = ["train"] * 96 + ["val"] * 4
    write_index(tmp_path, [IndexRow(f"{i}", f"{i:064}", split, 4, 4, i * 48) for i, split in enumerate(splits)])
    sheet = contact_sheet(tmp_path)
    step = CELL + 4
    left = sheet.shape[1] - COLUMNS * step
    assert sheet.shape[0] == 4 + (ROWS_PER_SPLIT + 1) * step
    centres = sheet[4 + CELL // 2 :: step, left + CELL // 2 :: step, 0]
    assert centres[:3].ravel().tolist() == [i * 96 // 30 for i in range(30)]
    assert centres[3].tolist() == [96, 97, 98, 99, 255, 255, 255, 255, 255, 255]
