"""Which split a picture is in: decided by its content, or by its name where partners must share one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from quantart.vocabulary.names import Split


def split_of(sha256_hex: str, val_share: float, test_share: float) -> Split:
    """The split of a picture by its content alone: adding or renaming pictures moves no other, in either domain.

    The test pictures come first on the scale, so that changing `val_share` does not change them.
    """
    place = int(sha256_hex[:13], 16) / 16**13  # 52 bits: exact as a float, in [0, 1)
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def split_of_name(name: str, val_share: float, test_share: float) -> Split:
    """The split of a picture by its name alone: partners share both."""
    return split_of(hashlib.sha256(name.encode()).hexdigest(), val_share, test_share)


def assign_splits(hashes: Iterable[str], val_share: float, test_share: float) -> dict[str, Split]:
    """`split_of` for each picture of a domain, but with no split left empty by chance in a small collection.

    An empty split whose share is not 0 takes one picture from the largest split if that has more than one. Training
    comes first.
    """
    splits = {sha256: split_of(sha256, val_share, test_share) for sha256 in sorted(hashes)}
    shares: dict[Split, float] = {"train": 1.0, "test": test_share, "val": val_share}
    for split, share in shares.items():
        if not share or not splits or split in splits.values():
            continue
        largest, size = Counter(splits.values()).most_common(1)[0]
        if size > 1 or split == "train":
            splits[next(sha256 for sha256, own in splits.items() if own == largest)] = split
    return splits
