"""Writing and reading stored codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from quantart.data import codes as data_codes
from quantart.data.codes import StoredCodes, code_dtype, write_codes, write_index
from quantart.errors import UserError

from .prepared import table

ROWS, CHANNELS, SIDE, N_EMBED = 7, 3, 6, 50


@pytest.fixture
def codes() -> Tensor:
    return torch.randint(0, N_EMBED, (ROWS, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(ROWS, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def store(
    folder: Path, codes: Tensor, latents: Tensor, n_embed: int = N_EMBED, copies: int = 1, shard: int = ROWS
) -> StoredCodes:
    """Store rows as `encode` does: copy 0 of each picture, then copy 1, …, in shards of one copy each."""
    folder.mkdir()
    number = 0
    for own_codes, own_latents in zip(codes.chunk(copies), latents.chunk(copies), strict=True):
        for parts in zip(own_codes.split(shard), own_latents.split(shard), strict=True):
            write_codes(folder, number, *parts, n_embed)
            number += 1
    write_index(folder, {"copies": copies}, len(codes))
    return StoredCodes(folder)


def test_codes_are_read_as_they_were_written(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    rows = np.array([4, 0, 4])
    assert len(stored) == ROWS
    assert stored.codes(rows).dtype == torch.int64
    assert torch.equal(stored.codes(rows), codes[rows])


def test_latents_come_back_rounded_to_float16(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    read = stored.latents(np.arange(ROWS))
    assert read.dtype == torch.float32
    assert torch.equal(read, latents.half().float())
    torch.testing.assert_close(read, latents, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("wrong", [1e5, float("nan")])
def test_latents_that_float16_does_not_hold_are_refused(
    tmp_path: Path, codes: Tensor, latents: Tensor, wrong: float
) -> None:
    latents[3, 1, 2, 2] = wrong
    with pytest.raises(UserError, match=r"latents up to (1e\+05|nan); float16, .* ends at 65,504"):
        store(tmp_path / "codes", codes, latents)


def test_rows_are_found_in_shards_of_one_copy_each(
    tmp_path: Path, codes: Tensor, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_codes, "SHARD", 2)
    stored = store(tmp_path / "codes", codes[:6], latents[:6], copies=2, shard=2)  # 2 + 1 pictures, twice
    assert len(list((tmp_path / "codes").glob("shard-*"))) == 4
    rows = np.array([5, 0, 3, 2, 4, 1])
    assert torch.equal(stored.codes(rows), codes[rows])
    assert torch.equal(stored.latents(rows), latents[rows].half().float())


def test_crops_are_cut_where_the_draws_say_codes_and_latents_alike(
    tmp_path: Path, codes: Tensor, latents: Tensor
) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    rows, draws = np.array([1, 6, 2]), np.array([[0.0, 0.0], [0.999, 0.999], [0.5, 0.25]])
    corners = [(0, 0), (2, 2), (1, 0)]  # of the 3 × 3 places that a crop of 4 has in 6
    for read, whole in ((stored.codes, codes), (stored.latents, latents.half().float())):
        expected = [whole[r, ..., y : y + 4, x : x + 4] for r, (y, x) in zip(rows, corners, strict=True)]
        assert torch.equal(read(rows, 4, draws), torch.stack(expected))


def test_a_crop_of_the_whole_side_is_the_whole(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    rows = np.arange(ROWS)
    assert torch.equal(stored.codes(rows, SIDE, np.full((ROWS, 2), 0.99)), codes)


def test_the_smallest_type_that_holds_the_codes_is_stored(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    assert code_dtype(2**16) is np.uint16
    assert code_dtype(2**16 + 1) is np.uint32
    store(tmp_path / "small", codes, latents)
    assert stored_type(tmp_path / "small") == pa.uint16()

    codes[0, 0, 0] = 70_000
    stored = store(tmp_path / "large", codes, latents, n_embed=2**16 + 5000)
    assert stored_type(tmp_path / "large") == pa.uint32()
    assert torch.equal(stored.codes(np.arange(ROWS)), codes)


def stored_type(folder: Path) -> pa.DataType:
    return table(folder / "shard-00000.arrow")["codes"].type.value_type


def test_rows_are_copies_of_fewer_pictures(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes[:6], latents[:6], copies=3)
    assert stored.pictures == 2
    assert stored.index == {"copies": 3}


def test_what_holds_no_codes_is_reported(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    with pytest.raises(UserError, match="codes: no stored codes"):
        StoredCodes(tmp_path / "codes")
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"pictures": {"train": ""}, "copies": 1}))
    with pytest.raises(UserError, match="old: no stored codes, or an older QuantArt's"):
        StoredCodes(folder)


def test_a_shard_that_is_missing_or_cut_off_is_named(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    folder = tmp_path / "codes"
    store(folder, codes, latents)
    path = folder / "shard-00000.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=rf"shard-00000.arrow: has {len(whole) - 10} bytes instead of {len(whole)}"):
        StoredCodes(folder)
    path.unlink()
    with pytest.raises(UserError, match="shard-00000.arrow: has 0 bytes") as error:
        StoredCodes(folder)
    assert "quantart encode" in (error.value.remedy or "")


def test_codes_of_a_smaller_resolution_than_the_crop_are_reported(
    tmp_path: Path, codes: Tensor, latents: Tensor
) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    with pytest.raises(UserError, match=r"codes: 6 × 6 .* 7 \(stage2\.train\.crop\)"):
        stored.check_crop(SIDE + 1)
    stored.check_crop(SIDE)
