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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from quantart.data.arrow_files import SHARD, SHARD_FILE, Shards, read_table, shard_sizes
from quantart.errors import UserError
from quantart.vocabulary.names import SPLITS, Split

INDEX_FILE = "index.arrow"
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
_OLD_INDEX = "index.csv"
_AT_ONCE = 2**16  # rows that are Python objects at a time


class SplitIndex(NamedTuple):
    """One split: its rows of the index, and what is known of it as a whole (see `PackedPictures`)."""

    rows: pa.RecordBatch
    short_side: int
    digest: str
    shards: Shards


def read_files(folder: Path, count: int) -> pa.Table:
    """All columns but the pixels, of all shards made from `count` source files."""
    shards = (read_table(folder / SHARD_FILE.format(number), PREPARE_AGAIN) for number in range(-(-count // SHARD)))
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
        "shards": shard_sizes(folder),
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
    table = read_table(path, PREPARE_AGAIN)
    if not table.schema.equals(_INDEX_SCHEMA) or _ABOUT not in (table.schema.metadata or {}) or not len(table):
        raise UserError(f"{path}: no index of prepared pictures", PREPARE_AGAIN)
    about: dict[str, Any] = json.loads(table.schema.metadata[_ABOUT])
    sizes = {name: each["pictures"] for name, each in about["splits"].items()}
    first = sum(sizes[name] for name in SPLITS[: SPLITS.index(split)])
    own = about["splits"][split]
    rows, shards = table.to_batches()[0].slice(first, sizes[split]), Shards(folder, about["shards"], PREPARE_AGAIN)
    return SplitIndex(rows, own["short_side"], own["digest"], shards)
