"""Under which licences the pictures of a folder stand, where a manifest beside the folder says so."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

from quantart.vocabulary.pictures import is_picture

MANIFEST = "manifest.csv"  # as of data/sample: file, licence and sha256 of each picture


def licences(folder: Path) -> dict[str, int] | None:
    """Number of pictures by licence; None where it is not known for every picture.

    A picture counts as known when `manifest.csv` in the folder above lists it with a licence and its very sha256.
    """
    manifest = folder.parent / MANIFEST
    if not folder.is_dir() or not manifest.is_file():
        return None
    try:
        return _licences(folder, manifest)
    except (OSError, UnicodeDecodeError, csv.Error):  # a manifest of another kind, or a picture that can't be read
        return None


def _licences(folder: Path, manifest: Path) -> dict[str, int] | None:
    with manifest.open(encoding="utf8", newline="") as file:
        listed = {row.get("file"): (row.get("licence"), row.get("sha256")) for row in csv.DictReader(file)}
    found: Counter[str] = Counter()
    for picture in (file for file in folder.rglob("*") if is_picture(file.name)):
        licence, sha256 = listed.get(picture.relative_to(folder.parent).as_posix(), (None, None))
        if not licence or sha256 != hashlib.sha256(picture.read_bytes()).hexdigest():
            return None
        found[licence] += 1
    return dict(found.most_common()) or None
