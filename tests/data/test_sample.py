"""The pictures in the repository: their manifest, their licences, and which of them are held out."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from quantart.data.prepare import prepare_domain
from quantart.params.file import load_params
from quantart.vocabulary.names import Domain, Split

from .prepared import read_index

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"


def test_every_picture_is_cc0_and_listed_with_its_checksum() -> None:
    with (SAMPLE / "manifest.csv").open(encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {path.relative_to(SAMPLE).as_posix(): path.read_bytes() for path in SAMPLE.rglob("*") if path.is_file()}
    assert sum(map(len, found.values())) < 12_000_000
    del found["manifest.csv"]
    assert {row["file"]: row["sha256"] for row in rows} == {
        name: hashlib.sha256(data).hexdigest() for name, data in found.items()
    }
    assert len(rows) == len(found)
    assert [row["file"] for row in rows if not row["licence"].startswith("CC0-1.0")] == []
    assert [row["file"] for row in rows if not row["title"] or not row["source"]] == []


@pytest.mark.parametrize(
    ("domain", "splits"),
    [("content", {"train": 48, "val": 3, "test": 6}), ("style", {"train": 34, "val": 10, "test": 31})],
)
def test_prepare_holds_out_what_was_held_out_from_quantart_open(
    domain: Domain, splits: dict[Split, int], tmp_path: Path
) -> None:
    params = load_params(ROOT / "params.yaml").data
    small = params.model_copy(update={"resolution": 16, "short_side": 16})
    prepare_domain(ROOT / params.folder(domain), tmp_path / "out", small, domain=domain, workers=1)
    rows = read_index(tmp_path / "out")
    for row in rows:
        place = int(row.sha256[:13], 16) / 16**13  # the rule by which quantart/open was trained
        assert row.split == ("test" if place < 0.14 else "val" if place < 0.22 else "train"), row.file
    assert Counter(row.split for row in rows) == splits
