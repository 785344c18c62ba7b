from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantart.errors import UserError
from quantart.images.arrays import write_image
from quantart.reporting.record import About, Record, read_record, write_record

ABOUT = About("transfer", "ab" * 32, 2, "squeezenet1_1", "efficientnet_lite0", 32, 1.0, 0.5, "photos", "paintings")


@pytest.fixture
def record() -> Record:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"method": ["model"] * 2, "pair": [0, 1], "content": ["a", "b"], "gram": [0.25, 1 / 3]})
    summary = pd.DataFrame(
        [("model", "gram", 0.3, 0.2, 0.4, 2), ("model", "fd", 1.5, np.nan, np.nan, 2)],
        columns=["method", "metric", "value", "low", "high", "n"],
    )
    methods = ("copied_content", "model")
    pictures = {
        pair: {method: draw.integers(0, 256, (8, 8, 3), dtype=np.uint8) for method in methods} for pair in (0, 1)
    }
    return Record(ABOUT, table, summary, {"model": draw.normal(size=(2, 5)).astype(np.float32)}, pictures)


def test_a_record_comes_back_as_it_was_written(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path / "eval", record)
    back = read_record(tmp_path / "eval")
    assert back.about == ABOUT
    pd.testing.assert_frame_equal(back.table, record.table)
    pd.testing.assert_frame_equal(back.summary, record.summary)
    np.testing.assert_array_equal(back.features["model"], record.features["model"])
    check_pictures(back, record)
    assert {file.name for file in (tmp_path / "eval" / "pictures").iterdir()} == {"0000.png", "0001.png"}


def check_pictures(back: Record, record: Record) -> None:
    assert list(back.pictures) == list(record.pictures)
    for pair, by_method in record.pictures.items():
        assert list(back.pictures[pair]) == list(by_method)
        for method, picture in by_method.items():
            np.testing.assert_array_equal(back.pictures[pair][method], picture)


def test_pictures_in_files_of_their_own_as_there_were_once_are_read(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, replace(record, pictures={}))
    for pair, by_method in record.pictures.items():
        for method, picture in by_method.items():
            write_image(tmp_path / "pictures" / f"{pair:04d}_{method}.png", picture)
    check_pictures(read_record(tmp_path), record)
    write_record(tmp_path, again := replace(record, pictures={pair: record.pictures[1 - pair] for pair in (0, 1)}))
    check_pictures(read_record(tmp_path), again)


def test_pictures_that_a_longer_evaluation_left_are_no_part_of_it(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, record)
    write_record(tmp_path, replace(record, about=replace(ABOUT, n=1), pictures={0: record.pictures[0]}))
    assert list(read_record(tmp_path).pictures) == [0]


def test_a_missing_and_a_broken_record_are_reported(record: Record, tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        read_record(tmp_path / "none")
    assert str(tmp_path / "none" / "about.json") in missing.value.fault
    assert "quantart evaluate" in missing.value.remedy
    write_record(tmp_path, record)
    write_image(tmp_path / "pictures" / "0000.png", np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(UserError, match="not the record of an evaluation"):
        read_record(tmp_path)
    write_record(tmp_path, record)
    (tmp_path / "features.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError) as broken:
        read_record(tmp_path)
    assert broken.value.fault.startswith(f"{tmp_path}: ")
    assert broken.value.remedy == "evaluate again"
