"""Some pictures of a prepared folder, made anew from their files at another size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.data.packing import Geometry, Rejected, load_all, pack
from quantart.data.pictures import PIXELS_FILE, PackedPictures, write_index
from quantart.data.sources import find_pictures
from quantart.errors import UserError

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
    loaded = list(load_all([found[name] for name in wanted], geometry, workers=1))
    for (name, sha256), each in zip(wanted.items(), loaded, strict=True):
        if isinstance(each, Rejected):
            raise UserError(f"{source}: {name!r} at {geometry.short_side} pixels: {each.reason}", "use a smaller size")
        if each.sha256 != sha256:
            raise UserError(f"{source}: {name!r} is not the picture that was prepared", "run `quantart prepare` again")
    out.mkdir()
    rows = pack(zip(wanted, loaded, strict=True), out / PIXELS_FILE, paired=False).rows
    write_index(out, [row._replace(split="test") for row in rows])
    return PackedPictures(out, "test")
