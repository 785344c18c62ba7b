"""What is in a prepared folder, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa

from quantart.images.arrays import Picture
from quantart.vocabulary.names import Split


class Row(NamedTuple):
    """A row of the index; the sha256 in hex."""

    file: str
    sha256: str
    height: int
    width: int
    split: Split
    shard: int
    row: int


def table(path: Path) -> pa.Table:
    with path.open("rb") as file:
        return pa.ipc.open_file(file).read_all()


def read_index(folder: Path) -> list[Row]:
    """All splits' pictures in the order of their names."""
    rows = [Row(**each | {"sha256": each["sha256"].hex()}) for each in table(folder / "index.arrow").to_pylist()]
    return sorted(rows, key=lambda row: row.file)


def pixels(folder: Path, row: Row) -> Picture:
    stored = table(folder / f"shard-{row.shard:05}.arrow").to_pylist()[row.row]
    assert (stored["file"], stored["sha256"].hex(), stored["rejected"]) == (row.file, row.sha256, None)
    return cast(Picture, np.frombuffer(stored["pixels"], np.uint8).reshape(row.height, row.width, 3))
