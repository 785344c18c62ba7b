"""Writing and reading stored codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from quantart.data.codes import CodeWriter, StoredCodes, code_dtype
from quantart.errors import UserError

ROWS, CHANNELS, SIDE, N_EMBED = 7, 3, 6, 50


@pytest.fixture
def codes() -> Tensor:
    return torch.randint(0, N_EMBED, (ROWS, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(ROWS, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def in_batches(codes: Tensor, latents: Tensor, size: int = 3) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(codes.split(size), latents.split(size), strict=True)


def store(folder: Path, codes: Tensor, latents: Tensor, n_embed: int = N_EMBED, copies: int = 1) -> StoredCodes:
    writer = CodeWriter(folder, n_embed)
    writer.write("train", len(codes), in_batches(codes, latents))
    writer.finish({"copies": copies})
    return StoredCodes(folder, "train")


def test_codes_are_read_as_they_were_written(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    rows = np.array([4, 0, 4])
    assert len(stored) == ROWS
    assert stored.codes(rows).dtype == torch.int64
    assert torch.equal(stored.codes(rows), codes[rows])


def test_latents_come_back_rounded_to_bfloat16(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    read = stored.latents(np.arange(ROWS))
    assert read.dtype == torch.float32
    assert torch.equal(read, latents.bfloat16().float())
    torch.testing.assert_close(read, latents, rtol=2**-8, atol=0)


def test_crops_are_cut_where_the_draws_say_codes_and_latents_alike(
    tmp_path: Path, codes: Tensor, latents: Tensor
) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    rows, draws = np.array([1, 6, 2]), np.array([[0.0, 0.0], [0.999, 0.999], [0.5, 0.25]])
    corners = [(0, 0), (2, 2), (1, 0)]  # of the 3 × 3 places that a crop of 4 has in 6
    for read, whole in ((stored.codes, codes), (stored.latents, latents.bfloat16().float())):
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
    assert np.load(tmp_path / "small" / "train_codes.npy").dtype == np.uint16

    codes[0, 0, 0] = 70_000
    stored = store(tmp_path / "large", codes, latents, n_embed=2**16 + 5000)
    assert np.load(tmp_path / "large" / "train_codes.npy").dtype == np.uint32
    assert torch.equal(stored.codes(np.arange(ROWS)), codes)


def test_rows_are_copies_of_fewer_pictures(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    stored = store(tmp_path / "codes", codes[:6], latents[:6], copies=3)
    assert stored.pictures == 2
    assert stored.index == {"copies": 3}


def test_a_half_written_folder_is_never_seen(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    folder = tmp_path / "codes"
    old = store(folder, codes, latents)

    def interrupted() -> Iterator[tuple[Tensor, Tensor]]:
        yield next(in_batches(codes * 0, latents))
        raise KeyboardInterrupt

    writer = CodeWriter(folder, N_EMBED)
    with pytest.raises(KeyboardInterrupt):
        writer.write("train", ROWS, interrupted())
    assert torch.equal(StoredCodes(folder, "train").codes(np.arange(ROWS)), codes)

    # the next attempt finds the remains of this one and replaces the whole folder
    assert torch.equal(store(folder, codes + 1, latents).codes(np.arange(ROWS)), codes + 1)
    assert torch.equal(old.codes(np.arange(ROWS)), codes)  # an open reader keeps what it had
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


def test_before_the_first_writing_ends_there_is_no_folder(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    writer = CodeWriter(tmp_path / "codes", N_EMBED)
    writer.write("train", ROWS, in_batches(codes, latents))
    assert not (tmp_path / "codes").exists()
    with pytest.raises(UserError, match="quantart encode"):
        StoredCodes(tmp_path / "codes", "train")


def test_a_split_that_is_missing_or_damaged_is_reported(tmp_path: Path, codes: Tensor, latents: Tensor) -> None:
    folder = tmp_path / "codes"
    store(folder, codes, latents)
    with pytest.raises(UserError, match="codes: .*'val'"):
        StoredCodes(folder, "val")
    path = folder / "train_latents.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="codes: .*'train'"):
        StoredCodes(folder, "train")


def test_codes_of_a_smaller_resolution_than_the_crop_are_reported(
    tmp_path: Path, codes: Tensor, latents: Tensor
) -> None:
    stored = store(tmp_path / "codes", codes, latents)
    with pytest.raises(UserError, match=r"codes: 6 × 6 .* 7 \(stage2\.train\.crop\)"):
        stored.check_crop(SIDE + 1)
    stored.check_crop(SIDE)
