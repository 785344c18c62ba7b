from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantart.errors import UserError
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
    pictures = {pair: {"model": draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)} for pair in (0, 1)}
    return Record(ABOUT, table, summary, {"model": draw.normal(size=(2, 5)).astype(np.float32)}, pictures)


def test_a_record_comes_back_as_it_was_written(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path / "eval", record)
    back = read_record(tmp_path / "eval")
    assert back.about == ABOUT
    pd.testing.assert_frame_equal(back.table, record.table)
    pd.testing.assert_frame_equal(back.summary, record.summary)
    np.testing.assert_array_equal(back.features["model"], record.features["model"])
    for pair in (0, 1):
        np.testing.assert_array_equal(back.pictures[pair]["model"], record.pictures[pair]["model"])


def test_pictures_that_a_longer_evaluation_left_are_no_part_of_it(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, record)
    write_record(tmp_path, replace(record, about=replace(ABOUT, n=1), pictures={}))
    assert list(read_record(tmp_path).pictures) == [0]


def test_no_record_and_a_broken_one_are_a_sentence(record: Record, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"about.json: not found; `quantart evaluate` writes it"):
        read_record(tmp_path / "none")
    write_record(tmp_path, record)
    (tmp_path / "features.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not the record of an evaluation"):
        read_record(tmp_path)
