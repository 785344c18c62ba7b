"""The files of a prepared folder: Arrow tables, read memory-mapped.

- `shard-00000.arrow`, …: a row for each of `SHARD` source files, in the order of their names, with either `sha256`,
  `height`, `width` and `pixels` (uint8, row by row, three channels), or the reason why it was `rejected`;
- `index.arrow`: a row for each picture that is used: where its pixels are, and its split. The training pictures come
  first, then those of the validation and the test. Its metadata holds what is known of each split as a whole, and the
  size of each shard.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from quantart.errors import UserError
from quantart.vocabulary.names import SPLITS, Split

INDEX_FILE = "index.arrow"
SHARD_FILE = "shard-{:05}.arrow"
SHARD = 128  # fixed, so that the bytes don't depend on who wrote them; a kill loses at most so many for each worker
PREPARE_AGAIN = "run `quantart prepare` again"

_PICTURE = [
    pa.field("file", pa.large_string()),
    pa.field("sha256", pa.binary(32)),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
]
SHARD_SCHEMA = pa.schema([*_PICTURE, pa.field("pixels", pa.large_binary()), pa.field("rejected", pa.large_string())])
_SPLIT_NAME = pa.dictionary(pa.int8(), pa.string())
_INDEX_SCHEMA = pa.schema([*_PICTURE, ("split", _SPLIT_NAME), ("shard", pa.int32()), ("row", pa.int32())])
_ABOUT = b"quantart"
_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)
_OLD_INDEX = "index.csv"
_AT_ONCE = 2**16  # rows that are Python objects at a time


class SplitIndex(NamedTuple):
    """One split: its rows of the index, and what is known of it as a whole (see `PackedPictures`)."""

    rows: pa.RecordBatch
    short_side: int
    digest: str


def read_table(path: Path) -> pa.Table:
    """An Arrow file, memory-mapped; UserError where it is damaged."""
    try:
        # the mapping outlives the file, which is closed here: there may be more shards than a process may open files
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file, options=_ONE_THREAD).read_all()
    except (OSError, pa.ArrowException):
        raise UserError(f"{path}: damaged", PREPARE_AGAIN) from None


def read_files(folder: Path, count: int) -> pa.Table:
    """All columns but the pixels, of all shards made from `count` source files."""
    shards = (read_table(folder / SHARD_FILE.format(number)) for number in range(-(-count // SHARD)))
    # taken, which copies them: a process can't map any number of files
    return pa.concat_tables(
        shard.drop_columns(["pixels"]).take(np.arange(len(shard))) for shard in shards
    ).combine_chunks()


def write_index(folder: Path, files: pa.Table, places: Mapping[Split, Sequence[int]]) -> None:
    """Write the index of the shards' `files` (see `read_files`), of which each split has those at its `places`."""
    order = np.concatenate([np.array(places.get(split, ()), np.int64) for split in SPLITS])
    rows = files.select([field.name for field in _PICTURE]).take(order).combine_chunks()
    sizes = [len(places.get(split, ())) for split in SPLITS]
    names = pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(SPLITS), dtype=np.int8), sizes), list(SPLITS))
    shard, row = (part.astype(np.int32) for part in np.divmod(order, SHARD))
    table = pa.Table.from_arrays([*rows.columns, names, pa.array(shard), pa.array(row)], schema=_INDEX_SCHEMA)
    starts = np.cumsum([0, *sizes])
    about = {
        "splits": {
            split: _about(rows.slice(start, size)) for split, start, size in zip(SPLITS, starts, sizes, strict=False)
        },
        "shards": _sizes(folder),
    }
    table = table.replace_schema_metadata({_ABOUT: json.dumps(about, sort_keys=True)}).combine_chunks()
    with pa.ipc.new_file(str(folder / INDEX_FILE), table.schema) as writer:
        writer.write_table(table)


def _about(rows: pa.Table) -> dict[str, int | str]:
    digest, short_side = hashlib.sha256(), 0
    for part in rows.to_batches(_AT_ONCE):
        columns = [part[name].to_pylist() for name in ("sha256", "height", "width")]
        digest.update("".join(f"{sha256.hex()} {h} {w}\n" for sha256, h, w in zip(*columns, strict=True)).encode())
        shortest = min(*columns[1], *columns[2])
        short_side = min(short_side or shortest, shortest)
    return {"pictures": len(rows), "short_side": short_side, "digest": digest.hexdigest()}


def read_index(folder: Path, split: Split) -> SplitIndex:
    """Open the index; UserError where the folder was not prepared, is damaged or lacks a part of a shard."""
    path = folder / INDEX_FILE
    if not path.is_file():
        if (folder / _OLD_INDEX).is_file():
            raise UserError(f"{folder}: prepared by an older QuantArt", PREPARE_AGAIN)
        raise UserError(f"{folder}: no prepared pictures here", "run `quantart prepare` first")
    table = read_table(path)
    if not table.schema.equals(_INDEX_SCHEMA) or _ABOUT not in (table.schema.metadata or {}) or not len(table):
        raise UserError(f"{path}: no index of prepared pictures", PREPARE_AGAIN)
    about: dict[str, Any] = json.loads(table.schema.metadata[_ABOUT])
    found = _sizes(folder)
    for name, expected in about["shards"].items():
        if (actual := found.get(name, 0)) != expected:
            raise UserError(f"{folder / name}: has {actual} bytes instead of {expected}", PREPARE_AGAIN)
    sizes = {name: each["pictures"] for name, each in about["splits"].items()}
    first = sum(sizes[name] for name in SPLITS[: SPLITS.index(split)])
    own = about["splits"][split]
    return SplitIndex(table.to_batches()[0].slice(first, sizes[split]), own["short_side"], own["digest"])


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each shard in the folder."""
    with os.scandir(folder) as entries:
        return {each.name: each.stat().st_size for each in entries if each.name.startswith("shard-")}
