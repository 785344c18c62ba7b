"""Some pictures of a prepared folder, made anew from their files at another size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.data.index import PREPARE_AGAIN, read_files, write_index
from quantart.data.packing import Geometry, write_shards
from quantart.data.pictures import PackedPictures
from quantart.data.sources import find_pictures
from quantart.errors import UserError
from quantart.machine.whole import whole_folder

if TYPE_CHECKING:
    from quantart.params.data import TableParams


def pack_originals(
    pictures: PackedPictures,
    chosen: Iterable[int],
    out: Path,
    geometry: Geometry,
    source: Path,
    table: TableParams | None = None,
    root: Path | None = None,
) -> PackedPictures:
    """Pack the `chosen` of the prepared `pictures` into the new folder `out`, in this order, at the geometry's size.

    For source, table and root see `find_pictures`.

    Raises:
        UserError: a file is gone, can't be used at this size, or is not the one that was prepared.
    """
    found = {file.name: file for file in find_pictures(source, table, root).pictures}
    wanted = {pictures.files[index]: pictures.sha256[index] for index in chosen}
    if missing := [name for name in wanted if name not in found]:
        raise UserError(f"{source}: {missing[0]!r}, a prepared picture, is gone", "restore it, or prepare again")
    with whole_folder(out) as fresh:
        list(write_shards([found[name] for name in wanted], geometry, fresh, workers=1))
        files = read_files(fresh, len(wanted))
        for (name, sha256), own, fault in zip(wanted.items(), *(files[c] for c in ("sha256", "rejected")), strict=True):
            if fault.is_valid:
                raise UserError(f"{source}: {name!r} at {geometry.short_side} pixels: {fault}", "use a smaller size")
            if own.as_py().hex() != sha256:
                raise UserError(f"{source}: {name!r} is not the picture that was prepared", PREPARE_AGAIN)
        write_index(fresh, files, {"test": range(len(files))})
    return PackedPictures(out, "test")
