"""The licences of a folder's pictures, where a manifest beside the folder lists them."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

from quantart.images.kinds import is_picture_file
from quantart.machine.names import same_name
from quantart.machine.walk import walk

MANIFEST = "manifest.csv"  # as of data/sample: file, licence and sha256 of each picture


def licences(folder: Path) -> dict[str, int] | None:
    """Number of pictures by licence; None where the licence of any picture is unknown.

    A picture's licence is known if `manifest.csv` in the parent folder lists it with a licence and the right sha256.
    """
    manifest = folder.parent / MANIFEST
    if not folder.is_dir() or not manifest.is_file():
        return None
    found: Counter[str] = Counter()
    try:
        with manifest.open(encoding="utf8", newline="") as file:
            listed = {
                same_name(row.get("file") or ""): (row.get("licence"), row.get("sha256"))
                for row in csv.DictReader(file)
            }
        for picture in filter(is_picture_file, walk(folder)):
            licence, sha256 = listed.get(same_name(picture.relative_to(folder.parent).as_posix()), (None, None))
            if not licence or sha256 != hashlib.sha256(picture.read_bytes()).hexdigest():
                return None
            found[licence] += 1
    except (OSError, UnicodeDecodeError, csv.Error):  # another kind of manifest, or an unreadable picture
        return None
    return dict(found.most_common()) or None
