"""Splits by content."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from quantart.data.splits import assign_splits, split_of, split_of_name

HASHES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]


@pytest.mark.parametrize(
    ("start", "split"), [("0", "test"), ("1f", "test"), ("20", "val"), ("3f", "val"), ("40", "train"), ("f", "train")]
)
def test_the_hash_decides(start, split):
    assert split_of(start.ljust(64, "f"), val_share=0.125, test_share=0.125) == split


def test_shares_are_met_by_many_pictures():
    counts = Counter(split_of(sha256, 0.08, 0.14) for sha256 in HASHES)
    assert counts["val"] / len(HASHES) == pytest.approx(0.08, abs=0.006)
    assert counts["test"] / len(HASHES) == pytest.approx(0.14, abs=0.008)


def test_test_pictures_stay_when_the_validation_share_changes():
    few = {sha256 for sha256 in HASHES if split_of(sha256, 0.02, 0.1) == "test"}
    many = {sha256 for sha256 in HASHES if split_of(sha256, 0.4, 0.1) == "test"}
    assert few == many


def test_added_pictures_move_no_other():
    before, after = assign_splits(HASHES[:500], 0.1, 0.1), assign_splits(HASHES[:900], 0.1, 0.1)
    assert {sha256: after[sha256] for sha256 in before} == before


def test_no_share_means_no_picture():
    assert set(assign_splits(HASHES[:100], 0.0, 0.0).values()) == {"train"}


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_small_collections_fill_every_split(count, first):
    splits = assign_splits(HASHES[first : first + count], 0.05, 0.05)
    assert set(splits.values()) == {"train", "val", "test"}
    assert len(splits) == count


def test_training_comes_first_and_order_does_not_matter():
    low = ["00" * 32, "01" * 32]
    assert assign_splits(low[:1], 0.1, 0.1) == {low[0]: "train"}
    assert sorted(assign_splits(low, 0.1, 0.1).values()) == ["test", "train"]
    assert assign_splits(low[::-1], 0.1, 0.1) == assign_splits(low, 0.1, 0.1)
    assert assign_splits([], 0.1, 0.1) == {}


def test_a_name_fixes_its_split_and_names_spread_as_the_shares_say():
    splits = {name: split_of_name(name, 0.2, 0.3) for name in map(str, range(2000))}
    assert splits == {name: split_of_name(name, 0.2, 0.3) for name in splits}
    counts = [list(splits.values()).count(split) for split in ("train", "val", "test")]
    assert counts == pytest.approx([1000, 400, 600], abs=80)
